from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lamar.errors import LamarError
from lamar.llm import journal
from lamar.llm.journal import Answer, key_of, opened, read, to_line

ASKED = {"provider": "local", "weights": "abc", "max_tokens": 64, "decoding": "greedy"}
MESSAGES = [{"role": "user", "content": "What is it for?"}]

SIZE = 1 << 20  # a write of so much may be torn by a kill

# Appends answers number N, N + 1, ... of a given size and says after each that it is kept.
WRITER = """
import sys
from itertools import count
from pathlib import Path
from lamar.console import user_errors
from lamar.llm.journal import Answer, opened

@user_errors
def main():
    with opened(Path(sys.argv[1])) as book:
        for number in count(int(sys.argv[2])):
            book.append([Answer(str(number), "m", f"{number} " + "x" * int(sys.argv[3]), "stop", 1, 2)])
            print(number, flush=True)

main()
"""

HOLDER = """
import sys
from pathlib import Path
from lamar.llm.journal import opened

with opened(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def answer(key: str = "k", text: str = "Cuts glass.") -> Answer:
    return Answer(key=key, model="m", text=text, finish_reason="stop", input_tokens=3, output_tokens=4)


def write(path: Path, *answers: Answer) -> None:
    with opened(path) as book:
        book.append(answers)


def python(script: str, *arguments: Any, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "model.jsonl"


def test_what_is_appended_is_read_back(path: Path) -> None:
    odd = answer("b", 'Für „große" Gläser:\nline two\u2028\x85 and\ttab 🙂')
    write(path, answer("a"), odd)
    write(path, answer("c"))
    assert read(path) == {"a": answer("a"), "b": odd, "c": answer("c")}
    assert path.read_bytes().count(b"\n") == 3


def test_half_a_surrogate_pair_is_no_reason_to_lose_an_answer(path: Path) -> None:
    write(path, answer("a", "a \ud83d b"))
    assert read(path) == {"a": answer("a", "a ? b")}


def test_a_journal_is_no_program(path: Path) -> None:
    write(path, answer())
    assert path.stat().st_mode & 0o111 == 0


def test_no_journal_is_an_empty_one(path: Path) -> None:
    assert read(path) == {}


def test_opening_makes_an_empty_journal(path: Path) -> None:
    with opened(path):
        assert read(path) == {}


@pytest.mark.parametrize("left", [1, 20, -1], ids=["one byte", "some", "all but the line break"])
def test_a_torn_last_line_is_dropped_and_then_cut_off(path: Path, left: int) -> None:
    write(path, answer("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + to_line(answer("b")).encode()[:left])
    assert read(path) == {"a": answer("a")}
    write(path, answer("c"))
    assert path.read_bytes() == whole + to_line(answer("c")).encode()


@pytest.mark.parametrize(
    "broken",
    [b'{"key": "b", "mod', b"", b"[1, 2]", b'{"key": "b"}', to_line(answer()).encode()[:-2] + b', "n": 1}', b"\xff"],
    ids=["cut", "empty", "a list", "missing fields", "a field too many", "not UTF-8"],
)
def test_a_broken_line_in_the_middle_is_named(path: Path, broken: bytes) -> None:
    write(path, answer("a"))
    path.write_bytes(path.read_bytes() + broken + b"\n" + to_line(answer("c")).encode())
    with pytest.raises(LamarError) as raised:
        read(path)
    assert str(raised.value) == f"{path}:2: not an answer; restore the file or delete this line"


def test_another_process_holds_the_journal(path: Path) -> None:
    holder = python(HOLDER, path, stdin=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LamarError, match="another process is asking; wait for it or stop it") as raised, opened(path):
        pass
    assert str(raised.value).startswith(f"{path}: ")
    holder.communicate(timeout=60)
    write(path, answer("a"))
    assert read(path).keys() == {"a"}


def test_kill_9_loses_no_answer(path: Path) -> None:
    """Six writers are killed at six moments; what each said it kept is there, whole, and the next goes on."""
    kept: list[int] = []
    for pause in (0, 0.01, 0.02, 0.03, 0.05, 0.08):
        writer = python(WRITER, path, len(kept), SIZE)
        writer.stdout.readline()
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        said, _ = writer.communicate(timeout=60)
        answers = read(path)
        kept = [int(key) for key in answers]
        assert kept == list(range(len(kept)))
        assert len(kept) > max(map(int, said.split()), default=-1)
        assert all(each.text == f"{key} {'x' * SIZE}" for key, each in answers.items())
    assert len(kept) >= 6
    write(path, answer("last"))
    assert len(read(path)) == len(kept) + 1


def test_a_full_disk_loses_no_earlier_answer(path: Path) -> None:
    """The kernel refuses to let the file grow beyond 10,000 bytes, which a write meets as it meets a full disk."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (10_000, 10_000))
    writer = python(WRITER, path, 0, 3_000, preexec_fn=limit)
    said, complaint = writer.communicate(timeout=60)
    assert writer.returncode == 1
    assert said == "0\n1\n2\n"
    assert complaint == f"error: {path}: cannot be written (File too large); see the message\n"
    assert path.read_bytes().endswith(b"\n"), "no half line is left, after which others might be written"
    assert list(read(path)) == ["0", "1", "2"]
    write(path, answer("3"))
    assert list(read(path)) == ["0", "1", "2", "3"]


def test_no_space_left_is_said(tmp_path: Path) -> None:
    """/dev/full takes no byte."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(LamarError, match=r"cannot be written \(No space left on device\); free some disk space"):
        journal.Journal(tmp_path / "model.jsonl", descriptor).append([answer()])
    os.close(descriptor)


def test_a_spare_keeps_what_arrives_when_the_disk_is_full(small_disk: Path) -> None:
    """The first answer that does not fit is an error and kept all the same, and so are some after it."""
    path = small_disk / "model.jsonl"
    numbers = count()

    def append_next() -> None:
        book.append([answer(str(next(numbers)), "x" * 3_000)])

    with opened(path, spare=20_000) as book:
        with pytest.raises(LamarError, match=r"No space left on device"):
            deque(iter(append_next, "never"), maxlen=0)
        append_next()
        append_next()
    assert list(read(path)) == [str(number) for number in range(next(numbers))]


def test_no_room_for_a_spare_is_said_before_anything_is_asked(small_disk: Path) -> None:
    with (
        pytest.raises(LamarError, match=r"cannot be written \(No space left on device\)"),
        opened(small_disk / "model.jsonl", spare=1 << 20),
    ):
        pass
    assert os.statvfs(small_disk).f_bavail > 20, "nothing of the spare is left"


def test_answers_of_local_models_are_written_as_ever() -> None:
    line = '{"finish_reason": "stop", "input_tokens": 3, "key": "k", "model": "m", "output_tokens": 4, "text": "t"}\n'
    assert to_line(answer(text="t")) == line


def test_a_remote_answer_keeps_how_long_it_took(path: Path) -> None:
    measured = Answer("k", "m", "t", "stop", 1, 2, seconds=0.5, attempts=3)
    write(path, measured)
    assert read(path) == {"k": measured}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "journal" / "model.jsonl"
    with pytest.raises(LamarError, match=r"model\.jsonl: cannot be written \(Not a directory\)"), opened(path):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder")
def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir(mode=0o555)
    with pytest.raises(LamarError, match="make the folder writable or choose another"), opened(folder / "model.jsonl"):
        pass


def test_an_error_of_another_file_is_not_blamed_on_the_journal(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), opened(path):
        (tmp_path / "weights").read_bytes()
    with pytest.raises(TimeoutError), opened(path):
        raise TimeoutError("the provider does not answer")
    write(path, answer("a"))
    assert read(path).keys() == {"a"}


def test_the_folder_is_named_by_lamar_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMAR_JOURNAL", str(tmp_path))
    assert journal.default_folder() == tmp_path
    monkeypatch.delenv("LAMAR_JOURNAL")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert journal.default_folder() == tmp_path / "share" / "lamar" / "journal"


def test_the_same_question_has_the_same_key() -> None:
    backwards = dict(reversed(ASKED.items()))
    reordered = [dict(reversed(message.items())) for message in MESSAGES]
    assert key_of(backwards, iter(reordered)) == key_of(ASKED, MESSAGES)


def test_keys_never_change() -> None:
    """Thousands of answers are kept under keys made this way: whoever changes the key loses them."""
    expected = "5deaef850f17149db144009a2e2574952c9b6fec256d6fcd93bd6448d491bff7"
    assert key_of(ASKED, [{"role": "user", "content": "Für was? 🙂"}]) == expected


@pytest.mark.parametrize(
    ("asked", "messages"),
    [
        (ASKED | {"max_tokens": 65}, MESSAGES),
        (ASKED | {"weights": "abd"}, MESSAGES),
        (ASKED | {"provider": "openai"}, MESSAGES),
        (ASKED | {"seed": 0}, MESSAGES),
        (ASKED, [{"role": "user", "content": "What is it for? "}]),
        (ASKED, [{"role": "system", "content": "What is it for?"}]),
        (ASKED, [*MESSAGES, *MESSAGES]),
        (ASKED, []),
    ],
)
def test_another_question_has_another_key(asked: dict[str, Any], messages: list[dict[str, str]]) -> None:
    assert key_of(asked, messages) != key_of(ASKED, MESSAGES)
