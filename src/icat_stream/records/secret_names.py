"""Names under which others send secrets, wherever nobody has said which are."""

SECRET_NAMES = frozenset(
    (
        "accesstoken apikey auth authentication authorization authtoken bearer"
        " clientsecret cookie credential credentials idtoken jwt passphrase passwd"
        " password privatekey pwd refreshtoken secret session sessionid sessiontoken"
        " setcookie token"
    ).split()
)
# What others put before it: x-, proxy-, the name of a product.
_ENDINGS = (
    "apikey",
    "authorization",
    "cookie",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "sessionid",
    "token",
)
_LONGEST = 300


def is_secret_name(name: str) -> bool:
    """Return whether what has this name is a secret, in any spelling of the name."""
    if len(name) > _LONGEST:
        return False
    letters = "".join(each for each in name if each.isalnum()).casefold()
    return letters in SECRET_NAMES or letters.endswith(_ENDINGS)
