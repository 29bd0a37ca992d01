"""Deal with dead letters in a process of its own: `dealer.py '<json>'`."""

import json
import logging
import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import scripted

from icat_stream.config import Settings
from icat_stream.stream import Action, DeadLetters, Halt, Replay, Selection


def main() -> None:
    options = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO)
    settings = Settings(**options["settings"])
    consumer = getattr(scripted, options["consumer"])(Path(options["folder"]))
    done: list[int] = []
    problems: list[str] = []

    def note(number: int) -> None:
        done.append(number)
        if options["signals"]:
            print("some", flush=True)
            sys.stdin.readline()

    with DeadLetters(settings) as letters:
        ends = letters.ends()
    code = 0
    with closing(
        Replay(
            settings,
            consumer_of=lambda _: consumer,
            on_done=note,
            on_problem=lambda letter, text: problems.append(f"{letter.at}: {text}"),
        )
    ) as tool:
        if options["signals"]:
            print("ready", flush=True)
            sys.stdin.readline()
        try:
            tool.run(Action(options["action"]), Selection(), ends)
        except Halt as halt:
            code = halt.code
            problems.append(halt.reason)
    print(json.dumps({"done": sum(done), "problems": problems}), flush=True)
    sys.exit(code)


main()
