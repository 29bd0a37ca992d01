"""Addresses, and who may see what is there."""

import logging
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, quote, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from icat_stream.icat import IcatFault
from icat_stream.records import Failure, SystemUnavailable, without_session_ids

from . import (
    act_pages,
    consumer_pages,
    data_pages,
    download_pages,
    interface_description,
    investigation_pages,
    journal_pages,
    landing_page,
    login_pages,
    overview_page,
    problem_pages,
    reconcile_pages,
    schema_trial_page,
    search_pages,
    token_pages,
)
from .accounts import SessionOver
from .guard import Guard
from .page import Elsewhere, NotThere, Page, PageRequest, Unfit, as_csv, as_json, wanted
from .page_html import STATIC, Templates
from .sign_ins import SIGN_ON_PATH, SIGN_ON_S, SignIn
from .site import Site

_log = logging.getLogger(__name__)

View = Callable[[PageRequest], Page | Elsewhere | Response]
_MOST_FORM_BYTES = 65_536
_MESSAGE = "/messages/{topic}/{partition}/{offset}"

# For everybody who is logged in: what they see is asked with their own session.
_PEOPLE: dict[str, View] = {
    "/investigations": investigation_pages.investigations,
    "/investigations/{id}": investigation_pages.investigation,
    "/datasets/{id}": data_pages.dataset,
    "/datasets/{id}/files": data_pages.files,
    "/datasets/{id}/download": download_pages.dataset,
    "/datafiles/{id}/download": download_pages.datafile,
    "/search": search_pages.search,
}
_OPERATORS: dict[str, View] = {
    "/messages": journal_pages.messages,
    _MESSAGE: journal_pages.message,
    f"{_MESSAGE}/payload": journal_pages.payload,
    "/problems": problem_pages.problems,
    "/problems/{fingerprint}": problem_pages.problem,
    "/consumers": consumer_pages.consumers,
    "/consumers/{name}": consumer_pages.consumer,
    "/integrations": consumer_pages.integrations,
    "/integrations/{name}": consumer_pages.consumer,
    "/reconcile": reconcile_pages.reconcile,
    "/schemas/try": schema_trial_page.schema_trial,
    "/help/{page}": problem_pages.night_page,
    "/audit": act_pages.audit,
}
# GET shows what is there or would be done, POST does it.
_ACTS: dict[str, View] = {
    "/problems/{fingerprint}/{action}": act_pages.of_problem,
    _MESSAGE + "/again": act_pages.of_message,
    "/reconcile/{number}/announce": reconcile_pages.announcement,
    "/tokens": token_pages.tokens,
    "/tokens/{number}/withdraw": token_pages.withdrawal,
}


_DESCRIPTION = interface_description.described(
    _PEOPLE, {"/": overview_page.overview, **_OPERATORS}, _ACTS
)


def application(site: Site) -> Starlette:
    """Return the whole dashboard.

    Parameters
    ----------
    site
        What its pages are made from.
    """
    answers = _Answers(site)
    routes: list[Route | Mount] = [
        Route("/", answers.to(_first, operators=False, scripts=True)),
        Route("/login", answers.login, methods=["GET", "POST"]),
        Route(SIGN_ON_PATH, answers.sign_on),
        Route(f"{SIGN_ON_PATH}/answer", answers.signed_on),
        Route("/logout", answers.logout, methods=["POST"]),
        Route("/doi/{prefix}/{suffix:path}", answers.landing),
    ]
    routes.append(
        Route(
            interface_description.ADDRESS,
            answers.to(_description, operators=False, scripts=True),
        )
    )
    for path, view in _PEOPLE.items():
        routes.append(Route(path, answers.to(view, operators=False)))
    for path, view in _OPERATORS.items():
        routes.append(Route(path, answers.to(view, operators=True)))
    for path, view in _ACTS.items():
        routes.append(
            Route(path, answers.to(view, operators=True), methods=["GET", "POST"])
        )
    routes += [
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/{path:path}", answers.to(_nothing, operators=False)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, site=site)])


def _first(asked: PageRequest) -> Page | Elsewhere:
    if asked.sign_in.operator:
        return overview_page.overview(asked)
    return Elsewhere("/investigations")


def _description(asked: PageRequest) -> Response:
    return as_json({**_DESCRIPTION, "servers": [{"url": asked.site.public_url}]})


def _nothing(asked: PageRequest) -> Page:
    raise NotThere("There is no such page.")


class _Answers:
    """Turns requests into questions, and pages into answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._scripts = token_pages.Scripts()
        self._templates = Templates(site)
        self._cookie = "__Host-icat-stream" if site.secure else "icat-stream"

    def to(
        self, view: View, *, operators: bool, scripts: bool = False
    ) -> Callable[[Request], object]:
        """Return what answers requests for a page.

        Parameters
        ----------
        view
            Makes the page.
        operators
            Whether it is for operators only.
        scripts
            Whether scripts see it though others than operators do.
        """

        async def endpoint(request: Request) -> Response:
            form = await _form(request)
            if form is None:
                return self._problem(request, None, 413, "That form is too large.")
            return await run_in_threadpool(
                self._answer,
                view,
                request,
                form,
                operators=operators,
                scripts=scripts or operators,
            )

        return endpoint

    def _answer(
        self,
        view: View,
        request: Request,
        form: Mapping[str, str],
        *,
        operators: bool,
        scripts: bool,
    ) -> Response:
        site = self._site
        try:
            sign_in = self._who_asks(request)
        except SystemUnavailable as error:
            text = f"{error.system} does not answer: {error}"
            return self._problem(request, None, 503, text)
        if sign_in is None:
            return self._to_login(request, form)
        asked = PageRequest(site, request, sign_in, form)
        changes = request.method == "POST"
        if sign_in.token and not scripts:
            return self._problem(
                request,
                None,
                403,
                "A token is for the pages of operators: what is in the catalogue is"
                " seen by people who log in, or asked of ICAT itself.",
            )
        if changes and not sign_in.acts:
            return self._problem(request, None, 403, "This token only reads.")
        try:
            if changes and not sign_in.owns(form.get("csrf", "")):
                return self._problem(
                    request,
                    sign_in,
                    403,
                    "This form was not made for you, or is out of date: go back, load"
                    " the page again, and try once more.",
                )
            # Whoever is no operator any more shall not act as one for another minute.
            is_operator = asked.part(
                "icat", lambda: site.accounts.is_operator(sign_in, now=changes)
            )
            if is_operator is None:
                # Pages can be seen while ICAT is down; nothing can be done.
                is_operator = sign_in.operator and not changes
            if operators and not is_operator:
                return self._problem(
                    request,
                    sign_in,
                    403,
                    "This page is for operators: members of the grouping"
                    f" “{site.settings.web.operators}” in ICAT.",
                )
            return self._shown(asked, view(asked))
        except SessionOver:
            site.sign_ins.remove(sign_in)
            return self._to_login(request, form)
        except NotThere as error:
            return self._problem(request, sign_in, 404, str(error))
        except Unfit as error:
            return self._problem(request, sign_in, 400, str(error))
        except SystemUnavailable as error:
            text = f"{error.system} does not answer: {error}"
            return self._problem(request, sign_in, 503, text)
        except (Failure, IcatFault) as error:
            return self._problem(request, sign_in, 502, str(error))
        except Exception:
            _log.exception("%s", request.url.path)
            return self._problem(
                request, sign_in, 500, "This is a bug: the log of the dashboard has it."
            )

    def _who_asks(self, request: Request) -> SignIn | None:
        token = token_pages.token_of(request)
        if token is not None:
            return self._scripts.find(self._site, token)
        refreshing = "x-refresh" in request.headers
        cookie = request.cookies.get(self._cookie)
        return self._site.sign_ins.find(cookie, active=not refreshing)

    def _shown(
        self, asked: PageRequest, found: Page | Elsewhere | Response
    ) -> Response:
        if isinstance(found, Response):
            return found
        if isinstance(found, Elsewhere):
            return RedirectResponse(f"{self._site.path}{found.address}", 303)
        form = wanted(asked.request)
        values = {
            **found.values,
            "missing": [{"system": k, "text": v} for k, v in asked.missing.items()],
        }
        if form == "json":
            return as_json({"title": found.title, **values}, found.status)
        if form == "csv":
            if found.table is None:
                raise Unfit("This page is no table: ask for it as JSON.")
            return as_csv(found.values[found.table])
        return self._templates.response(
            asked.request,
            found.template,
            {"title": found.title, "is_table": found.table is not None, **values},
            sign_in=asked.sign_in,
            status=found.status,
        )

    def _problem(
        self, request: Request, sign_in: SignIn | None, status: int, text: str
    ) -> Response:
        text = without_session_ids(text)
        if wanted(request) != "html":
            return as_json({"error": text}, status)
        values = {"title": text, "text": text, "missing": [], "is_table": False}
        return self._templates.response(
            request, "problem_page.html", values, sign_in=sign_in, status=status
        )

    def _to_login(self, request: Request, form: Mapping[str, str]) -> Response:
        if token_pages.token_of(request) is not None:
            answer = as_json({"error": "this token is not good (any more)"}, 401)
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        if wanted(request) != "html" or "x-refresh" in request.headers:
            return as_json({"error": "log in first"}, 401)
        # What was typed is not lost: the page to go on with has it in its address.
        kept = [*request.query_params.multi_items()]
        kept += [(k, v) for k, v in form.items() if k != "csrf"]
        address = quote(request.url.path)
        if kept:
            address += f"?{urlencode(kept)}"
        login = f"{self._site.path}/login"
        if address != "/":
            login += f"?{urlencode({'next': address})}"
        return RedirectResponse(login, 303)

    async def login(self, request: Request) -> Response:
        """Show the ways to log in, or let somebody in."""
        form = await _form(request)
        if form is None:
            return self._problem(request, None, 413, "That form is too large.")
        return await run_in_threadpool(self._login, request, form)

    def _login(self, request: Request, form: Mapping[str, str]) -> Response:
        site = self._site
        goal = login_pages.goal(
            form.get("next") or request.query_params.get("next", "")
        )
        outcome = login_pages.login(site, request, form)
        if isinstance(outcome, SignIn):
            return self._entered(request, outcome, goal)
        return self._login_page(request, outcome, goal)

    def _entered(self, request: Request, sign_in: SignIn, goal: str) -> Response:
        """Let somebody in."""
        site = self._site
        # A new cookie: what somebody else may have put there is worth nothing.
        old = site.sign_ins.find(request.cookies.get(self._cookie))
        if old is not None:
            site.sign_ins.remove(old)
            site.accounts.leave(old)
        for gone in site.sign_ins.add(sign_in):
            site.accounts.leave(gone)
        answer = RedirectResponse(f"{site.path}{goal}", 303)
        self._set(answer, self._cookie, sign_in.key)
        return answer

    def _set(
        self, answer: Response, name: str, value: str, max_age: int | None = None
    ) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=max_age,
            path="/",
            secure=self._site.secure,
            httponly=True,
            samesite="lax",
        )

    async def sign_on(self, request: Request) -> Response:
        """Send somebody to the login provider."""
        return await run_in_threadpool(self._sign_on, request)

    def _sign_on(self, request: Request) -> Response:
        goal = login_pages.goal(request.query_params.get("next", ""))
        begun = login_pages.begin_sign_on(self._site, goal)
        if isinstance(begun, Page):
            return self._login_page(request, begun, goal)
        address, cookie = begun
        answer = RedirectResponse(address, 303)
        self._set(answer, f"{self._cookie}-login", cookie, max_age=SIGN_ON_S)
        return answer

    async def signed_on(self, request: Request) -> Response:
        """Let somebody in who comes back from the login provider."""
        return await run_in_threadpool(self._signed_on, request)

    def _signed_on(self, request: Request) -> Response:
        name = f"{self._cookie}-login"
        finished = login_pages.finish_sign_on(
            self._site, request.cookies.get(name), dict(request.query_params)
        )
        if isinstance(finished, Page):
            answer = self._login_page(request, finished, "/")
        else:
            answer = self._entered(request, *finished)
        self._set(answer, name, "", max_age=0)
        return answer

    def _login_page(self, request: Request, outcome: Page, goal: str) -> Response:
        values = {**outcome.values, "goal": goal}
        if wanted(request) == "json":
            return as_json(values, outcome.status)
        answer = self._templates.response(
            request,
            outcome.template,
            {"title": outcome.title, "missing": [], "is_table": False, **values},
            sign_in=None,
            status=outcome.status,
        )
        if outcome.values["wait"]:
            answer.headers["Retry-After"] = str(outcome.values["wait"])
        return answer

    async def landing(self, request: Request) -> Response:
        """Show everybody what a DOI leads to."""
        return await run_in_threadpool(self._landing, request)

    def _landing(self, request: Request) -> Response:
        parts = request.path_params
        try:
            page = landing_page.landing(self._site, parts["prefix"], parts["suffix"])
        except NotThere as error:
            return self._problem(request, None, 404, str(error))
        except (Failure, IcatFault):
            # Why is nobody's business out there.
            text = "The catalogue does not answer just now: try again in some minutes."
            return self._problem(request, None, 503, text)
        if wanted(request) == "json":
            return as_json(page.values)
        values = {"title": page.title, "missing": [], "is_table": False, **page.values}
        return self._templates.response(
            request, page.template, values, sign_in=None, status=page.status
        )

    async def logout(self, request: Request) -> Response:
        """Let somebody go."""
        form = await _form(request) or {}
        sign_in = self._site.sign_ins.find(request.cookies.get(self._cookie))
        if sign_in is not None and sign_in.owns(form.get("csrf", "")):
            self._site.sign_ins.remove(sign_in)
            await run_in_threadpool(self._site.accounts.leave, sign_in)
        answer = RedirectResponse(f"{self._site.path}/login", 303)
        answer.delete_cookie(
            self._cookie, path="/", secure=self._site.secure, httponly=True
        )
        return answer


async def _form(request: Request) -> dict[str, str] | None:
    """Return what a form says; ``None``: it is longer than any of ours."""
    if request.method != "POST":
        return {}
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MOST_FORM_BYTES:
            return None
    text = content.decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
