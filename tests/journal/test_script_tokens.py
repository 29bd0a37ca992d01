"""Tokens of scripts, in both databases."""


def test_a_token_is_good_until_its_end(journal):
    tokens = journal.script_tokens
    number, secret = tokens.make(name="n\0", user="db/a", acts=False, life=1000)
    _, over = tokens.make(name="over", user="db/a", acts=True, life=-1)
    found = tokens.find(secret)
    assert found is not None
    assert (found.number, found.user, found.acts) == (number, "db/a", False)
    assert tokens.find(over) is None
    assert tokens.find(secret + "x") is None
    assert [each.name for each in tokens.newest()[:2]] == ["over", "n\ufffd"]


def test_who_withdraws_one_does_so_once(journal):
    tokens = journal.script_tokens
    number, secret = tokens.make(name="n", user="db/a", acts=False, life=1000)
    gone, _ = tokens.make(name="over", user="db/a", acts=False, life=-1)
    assert tokens.withdraw(number)
    assert not tokens.withdraw(number)
    assert not tokens.withdraw(gone)
    assert tokens.find(secret) is None
