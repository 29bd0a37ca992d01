"""VISA's tables on a real PostgreSQL, in both shapes that are in use."""

from typing import Any

from sqlalchemy import text

from .postgres import do, superuser

# Of a database made by VISA's scripts; a server that has run has added the second part.
_PLAIN = (
    "CREATE TABLE {s}.employer (id bigint NOT NULL PRIMARY KEY, name varchar(200),"
    " town varchar(100), country_code varchar(10))",
    "CREATE TABLE {s}.users (id varchar(250) NOT NULL PRIMARY KEY, first_name"
    " varchar(100), last_name varchar(100) NOT NULL, email varchar(100), affiliation"
    " varchar(255), affiliation_id bigint CONSTRAINT fk_employer_id REFERENCES"
    " {s}.employer, instance_quota integer NOT NULL DEFAULT 2, activated_at timestamp,"
    " last_seen_at timestamp)",
    "CREATE TABLE {s}.role (id bigserial PRIMARY KEY, name varchar(100) NOT NULL"
    " CONSTRAINT uk_role_name UNIQUE, description varchar(250))",
    "CREATE TABLE {s}.user_role (user_id varchar(250) NOT NULL REFERENCES {s}.users,"
    " role_id bigint NOT NULL REFERENCES {s}.role, expires_at timestamp)",
    "CREATE TABLE {s}.instrument (id bigint NOT NULL PRIMARY KEY, name varchar(250)"
    " NOT NULL)",
    "CREATE TABLE {s}.proposal (id bigint NOT NULL PRIMARY KEY, identifier"
    " varchar(100) NOT NULL, title varchar(2000), public_at timestamp, summary"
    " varchar(5000))",
    "CREATE TABLE {s}.experiment (id varchar(32) NOT NULL PRIMARY KEY, instrument_id"
    " bigint NOT NULL CONSTRAINT fk_instrument_id REFERENCES {s}.instrument,"
    " proposal_id bigint NOT NULL CONSTRAINT fk_proposal_id REFERENCES {s}.proposal,"
    " start_date timestamp, end_date timestamp)",
    "CREATE TABLE {s}.experiment_user (experiment_id varchar(32) NOT NULL REFERENCES"
    " {s}.experiment, user_id varchar(250) NOT NULL REFERENCES {s}.users, PRIMARY KEY"
    " (experiment_id, user_id))",
    "CREATE TABLE {s}.instance (id bigserial PRIMARY KEY, owner varchar(250) REFERENCES"
    " {s}.users)",
    "INSERT INTO {s}.role (name) VALUES ('ADMIN'), ('STAFF'), ('GUEST')",
)
_GROWN = (
    "ALTER TABLE {s}.experiment ADD title varchar(2000), ADD url varchar(2000), ADD doi"
    " varchar(2000)",
    "ALTER TABLE {s}.proposal ADD url varchar(2000), ADD doi varchar(2000)",
    "ALTER TABLE {s}.role ADD group_created_at timestamp, ADD group_deleted_at"
    " timestamp",
)
ACCOUNT, PASSWORD = "visa_writer", "v1sa-s3cret"


class VisaDatabase:
    """VISA's database, made anew."""

    def __init__(self, url: str, *, grown: bool, schema: str = "visa") -> None:
        self.url = url
        self.schema = schema
        self.run(
            f"DROP SCHEMA IF EXISTS {schema} CASCADE",
            f"CREATE SCHEMA {schema}",
            *(line.format(s=schema) for line in _PLAIN + (_GROWN if grown else ())),
        )

    def run(self, *statements: str) -> None:
        do(self.url, *statements)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with superuser(self.url) as connection:
            connection.execute(text(f"SET search_path = {self.schema}"))
            return [tuple(row) for row in connection.execute(text(query))]

    def drop(self) -> None:
        self.run(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")

    @property
    def team(self) -> set[tuple[str, str]]:
        """Who has access to what."""
        found = self.rows("SELECT experiment_id, user_id FROM experiment_user")
        return {(experiment, user) for experiment, user in found}
