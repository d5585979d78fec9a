"""Each thing has one standard name: no retired name, module or phrase comes back."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("foxapi_async", "tests", "benchmarks", "docs")
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md", "pyproject.toml")
SUFFIXES = {".py", ".pyi", ".md", ".toml", ".html", ".txt"}
# This file has the retired words; the tool that compares two versions needs the names of both.
EXEMPT = {"tests/test_words.py", "benchmarks/compare_client.py"}

# Identifiers that are no word of their own, in the whole text of code, tests and pages.
IDENTIFIERS = r"""
    _Arrivals _Expected Crew LONG_GET may_join begin_wait end_wait unfollow _hear checked_key
    check_timeout unpark _line_up _come_back _saw _saw_hollow _plan_first _count_quiet _break_off
    HAND_OVER hand_over _misses Vacancy _attend with_ _cut_short _land Swept Tally saw_end Claimable
    AwaitChange OUTDATED _refuse_keywords _refuse_infinite _unwritable _FOR_EVER
    _HOLLOW_INTERVAL _FIRST_NAP _LONGEST_NAP
    _says_nothing _unfit _tolerant is_proved throw_away lacks_past Mould cast_all Surveyor
    is_hopeless refusal_class Slotted LONGEST_TURN said_by is_named judge_fault NO_NEWS
    MISSES_BEFORE_LOST _ChoiceSoFar _CallSoFar _SAID
    _stay_here _spare_maps _teller is_made_so _is_spoilt heard_at
    MemoryRecorder is_living give_back StreamFault originated read_completion write_completion
    model_lists StandardError Spoiler stand_still SpoiltStream _Armed _Stroke _Pen tame_output
    note_owed gets_per_second cut_fox
    add_orphan on_orphaned make_recorder FileJournal should_retire set_cut EXHAUSTED
    _refuse_if_withdrawn
    polling\.hollow streaming\.silence Adaptive\.price limits\.(?:body|frame|in_flight)
    (?:retry|streaming|pacing)\.(?:first|factor|cap|elapsed)
"""

# Names that are ordinary words elsewhere: no class, function, parameter, variable or attribute has
# them in that folder or file.
NAMES = {
    "foxapi_async": """
        Answer Verdict Deadline Ending Call Turn Look Launch Handover Follower Sweep Mould Trouble
        Transcript Throttle Shortcut Inlet Told Judge told verdict
    """,
    "foxapi_async/_client": """
        Medium expect hire dismisses relief room alarm ends is_over born patience watch missed
        restored thinks disowned _located bounded park nudge book _hire _plan _crashed
        StreamReader engage sweep abandoned _lose _drop _tell Way Room Unfinished Core ear disown
        look Session _Loop _let_go nap _answers sending landed _look Updates Await wants
        _own Watch Watches Source show contradicted exhausted charge Service parked trouble
        DUE READY POLLED hollow heard
    """,
    "foxapi_async/_client/polling/worker_pool.py": "begin leave",
    "foxapi_async/_client/polling/poller.py": "join leave",
    "foxapi_async/_client/handle.py": "observe streamed",
    "foxapi_async/_client/polling/tracked_task.py": "lost closed timed_out",
    "foxapi_async/_client/streaming/report.py": """
        interrupted given_up timed_out partial complete finished opened
    """,
    "foxapi_async/_client/task_record.py": "cut",
    "foxapi_async/_client/llm_handle.py": "streamed restored",
    "foxapi_async/_client/streaming": "Deadline Recovery keep rest settle arrived",
    "foxapi_async/_client/streaming/stream_follower.py": "join leave",
    "foxapi_async/_client/streaming/delta_reader.py": "advance",
    "foxapi_async/_protocol": """
        Outcome Stop Delay roll rolls one is_plain _learn GOING CUT DOUBT CONFLICT ask follows
        _claim _settle Intake intake take settled Position begins Cut ASK said heard _NOTHING
        Schedule slot turn admits slow opens Said notes hollow judge Sight MISSING FORBIDDEN HOLLOW
        complete mould look
    """,
    "foxapi_async/_protocol/chunk_decoder.py": "_compare _patience",
    "foxapi_async/_protocol/chunk_history.py": "part",
    "foxapi_async/_protocol/delta_buffer.py": "rest",
    "foxapi_async/_protocol/reconnect.py": "hint Step",
    "foxapi_async/_protocol/retry.py": "decide",
    "foxapi_async/_protocol/completion_merge.py": "remainder",
    "foxapi_async/_protocol/rate_limiter.py": "start",
    "foxapi_async/_transport": """
        head HEAD invalid _nature arrived receive lent Deadlines until FAULTS Failure refusal
        Ambiguous finish _told _whole arrival take leave Reply through _tried again excuse is_lost
        note
    """,
    "foxapi_async/_transport/account.py": "target",
    "foxapi_async/_transport/payload.py": "refused",
    "foxapi_async/_transport/stream_body.py": "unusable",
    "foxapi_async/_journal": """
        Note intended heard named drop lean Location Recorder described Run sweep forget Writer
        _owed _linger ask _told Taken DOUBT LOSE HEAR END REFUSE Changes Change gathered make
        Lookup orphaned _ask
    """,
    "foxapi_async/_wire": "Shape Reader deltas dones faults",
    "foxapi_async/_logging.py": "listen",
    "foxapi_async/config.py": "hollow silence first factor cap elapsed price body frame in_flight",
    "foxapi_async/gateway": """
        Control Border guard Beat _ring Doors Keys admit Refusal translated Relay parse accept
        acting doomed Kind takes does concerns holds instance Step Found cut Recent choose
        Committer Entry Database
    """,
    "foxapi_async/gateway/faults": "decide",
    "foxapi_async/cli": "complaint complain owe exits",
    "foxapi_async/testing": "heal Course Turn Network Share Refuse either",
    "tests": "told verdict staged untried roundabout Nowhere patience roll tally",
    "benchmarks": "told verdict look roll",
    "docs": "told verdict",
}

# The modules in a folder, its subfolders included, that have another name now.
MODULES = {
    "foxapi_async/_client": """
        blocks completed crew deadline follower handover launch patience reader recovered recovery
        room sweep tally waiter watch updates stream core service
    """,
    "foxapi_async/_protocol": """
        backoff chunks intake mould position recovery refusal remainder schedule throttle
        transcript trouble verdict accumulate
    """,
    "foxapi_async/_transport": """
        answer body call deadlines faults http inlet shortcut trial judge stream told
    """,
    "foxapi_async/_journal": "entry location recorder run writer database file_journal writes",
    "foxapi_async/_wire": "shape fault model",
    "foxapi_async/gateway": """
        access beat control doors keys log refusal relay sparse submission kind merge scalar token
        keep choice recent committer entry kinds source answer stream
    """,
    "foxapi_async/cli": """
        answer complaint exits moment running serving stage submitting waiting screen
    """,
    "foxapi_async/testing": "cutter",
    "tests": """
        test_accumulate test_backoff test_intake test_schedule test_throttle test_transcript
        test_trouble test_verdict test_shapes test_beat test_doors test_control
        test_blocks test_room test_completed test_screen test_http
    """,
}

# Persons for objects, and turns of phrase: the subject of a sentence is an object in the code.
PHRASES = (
    r"whoever|whomever|nobody|no one\b|somebody|anybody",
    r"(?<![a-z])(?:is|are|was|were|be|been|being)[ _]told(?![a-z])",
    r"\b(?:came|comes|come) of (?:it|them)\b",
    r"\bthe looking\b|\blook(?:s|ed)? at a task\b",
    r"(?<![a-z])(?:is|are|was|were|not|never)[ _]looked[ _]at(?![a-z])",
    r"(?<![a-z])who[ _](?:waits|asks|listens|reads|leaves|would)(?![a-z])",
    r"(?<![a-z])(?:crew|mould|hollow|inlet|handover|spoilt|knows not)(?![a-z])",
    r"\bPERF\b",
)

# The structs of the gateway's responses mirror those that the client decodes, and the blocking
# classes mirror the asynchronous ones.
MIRRORS = {
    "foxapi_async/gateway/response_structs.py",
    "foxapi_async/sync/_handles.py",
    "foxapi_async/sync/_session.py",
}


def texts(checkout: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of code, tests and documentation."""
    paths = [path for folder in FOLDERS for path in sorted((checkout / folder).rglob("*"))]
    for path in [*paths, *(checkout / page for page in PAGES)]:
        name = path.relative_to(checkout).as_posix()
        if path.suffix in SUFFIXES and path.is_file() and name not in EXEMPT:
            yield name, path.read_text("utf-8")


def modules(place: Path) -> list[Path]:
    """Return the modules in a folder, or the module itself."""
    found = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert found, f"{place} does not exist"
    return found


def hits(pattern: re.Pattern[str], name: str, text: str) -> list[str]:
    """Return the lines of a text that match."""
    return [
        f"{name}:{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def defined(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each name that a module defines, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def retired(place: str, module: Path, names: set[str]) -> list[str]:
    """Return the definitions in a module that have one of the retired names."""
    return [
        f"{module.name}:{line}: {name} is retired in {place}"
        for name, line in defined(ast.parse(module.read_text("utf-8")))
        if name in names
    ]


def test_no_retired_identifier_is_left(checkout: Path) -> None:
    """Code, tests and pages have no identifier that has another name now."""
    pattern = re.compile(rf"(?<![\w])(?:{'|'.join(IDENTIFIERS.split())})(?![\w])")
    found = [line for name, text in texts(checkout) for line in hits(pattern, name, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("place", NAMES)
def test_no_retired_name_is_defined(checkout: Path, place: str) -> None:
    """No definition in a folder or module has a name that is retired there."""
    names = set(NAMES[place].split())
    found = [
        line
        for module in modules(checkout / place)
        if module != Path(__file__)
        for line in retired(place, module, names)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", MODULES)
def test_no_retired_module_is_left(checkout: Path, folder: str) -> None:
    """No module in a folder has a name that is retired there."""
    names = set(MODULES[folder].split())
    assert not [path for path in modules(checkout / folder) if path.stem in names]


def test_no_sentence_is_about_persons(checkout: Path) -> None:
    """No text has a person for an object, or a turn of phrase that has to be deciphered."""
    pattern = re.compile("|".join(PHRASES), re.IGNORECASE)
    found = [line for name, text in texts(checkout) for line in hits(pattern, name, text)]
    assert not found, "\n".join(found)


def test_a_class_name_has_one_meaning(package: Path) -> None:
    """No two modules of the package define public classes with the same name."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module in modules(package):
        path = module.relative_to(package.parent).as_posix()
        for node in ast.parse(module.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and path not in MIRRORS:
                homes[node.name].append(path)
    doubles = {name: paths for name, paths in homes.items() if len(paths) > 1 and name[0] != "_"}
    assert not doubles


def test_a_retired_word_is_found(tmp_path: Path) -> None:
    """Definitions of every kind, and phrases in any case, are found."""
    module = tmp_path / "module.py"
    module.write_text("class Room:\n    def nap(self, crew):\n        self.ear = told = crew\n")
    found = retired("here", module, {"Room", "nap", "crew", "ear", "told"})
    assert {line.split()[1] for line in found} == {"Room", "nap", "crew", "ear", "told"}
    pattern = re.compile("|".join(PHRASES), re.IGNORECASE)
    assert hits(pattern, "page", "Whoever waits\nA waiter") == ["page:1: Whoever waits"]
