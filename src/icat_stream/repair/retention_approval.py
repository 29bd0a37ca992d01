"""Who may say that a plan is carried out: a member of a grouping, and not ourselves."""

from contextlib import closing

from pydantic import SecretStr

from icat_stream.config import Settings
from icat_stream.icat import Session
from icat_stream.journal import Approval, RetentionPlans
from icat_stream.records import Rejection

from .retention_plan import RetentionPlan


class Approvals:
    """Takes and checks approvals of plans.

    Parameters
    ----------
    settings
        Where ICAT is, who carries plans out, and who approves of them.
    kept
        Where approvals are kept.
    """

    def __init__(self, settings: Settings, kept: RetentionPlans) -> None:
        self._settings = settings
        self._kept = kept

    def approver(self, authenticator: str, username: str, password: str) -> str:
        """Log a person in to ICAT, and return the name if the person may approve.

        Raises
        ------
        LoginRefused
            ICAT does not let the person in.
        Rejection
            The person may not approve.
        """
        person = self._settings.icat.model_copy(
            update={
                "auth": authenticator,
                "username": username,
                "password": SecretStr(password),
                "password_file": None,
            }
        )
        with closing(Session(person)) as session:
            user = session.user_name()
        self._check(user)
        return user

    def add(self, plan: RetentionPlan, user: str, reason: str) -> Approval:
        """Keep that a person approves a plan; return who did so first."""
        return self._kept.approve(
            plan.sha256,
            user=user,
            reason=reason,
            datasets=plan.datasets,
            size=plan.size,
        )

    def of(self, plan: RetentionPlan) -> Approval:
        """Return the approval of a plan, which is still one by who may approve.

        Raises
        ------
        Rejection
            There is none.
        """
        approval = self._kept.approval(plan.sha256)
        if approval is None:
            raise Rejection(
                f"nobody has approved the plan {plan.sha256[:12]}: a member of"
                f" “{self._settings.retention.approvers}” does, by `icat_stream"
                " retention approve`"
            )
        self._check(approval.by)
        return approval

    def _check(self, user: str) -> None:
        grouping = self._settings.retention.approvers
        with closing(Session(self._settings.icat)) as ours:
            if user == ours.user_name():
                raise Rejection(
                    f"{user} carries plans out (icat.username), so somebody else has to"
                    " approve of them"
                )
            if not ours.is_member(user, grouping):
                raise Rejection(
                    f"{user} is no member of the grouping “{grouping}” in ICAT"
                    " (retention.approvers)"
                )
