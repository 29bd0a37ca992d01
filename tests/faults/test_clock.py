"""The clock is set back by an hour while the daemon runs."""

import os
import shutil
import struct
import subprocess

import pytest

from faults.announcing import plain
from faults.waiting import wait_until
from icat_stream.sandbox.announcer import Announcer, write_files

HOUR = 3600


# Says another time of day to the process that loads it; durations go on as they are,
# and so does the clock of the file server.
SOURCE_CODE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static long offset(void) {
    static volatile long *seconds;
    if (!seconds) {
        int file = open(getenv("CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
        seconds = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    }
    return *seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += offset();
    return failed;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"""


@pytest.fixture
def clock(tmp_path):
    """A clock that can be set, for processes with its environment."""
    if shutil.which("cc") is None:
        assert not os.environ.get("CI"), "no C compiler: install gcc"
        pytest.skip("needs a C compiler")
    return Clock(tmp_path)


class Clock:
    def __init__(self, folder):
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(SOURCE_CODE)
        command = ["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"]
        subprocess.run(command, check=True)
        self._offset = folder / "offset"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "CLOCK_OFFSET": str(self._offset),
        }

    def set(self, seconds):
        """Put it off the real one."""
        handle = os.open(self._offset, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(handle, struct.pack("l", seconds), 0)
        os.close(handle)


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_waits_goes_on_and_files_are_taken_in(facility, clock):
    facility.configure(
        # Shorter than the hour, longer than it takes to set the clock.
        retries={"delays": ["20s", "20s", "20s"]},
        files={"settle": "500ms", "settle_deadline": "5s"},
    )
    announcer = Announcer(facility.endpoints["kafka"])
    files = write_files(facility.folder / "data", layout="both")
    names = set()

    def announce(**options):
        written = next(files)
        names.add(plain(written.path))
        announcer.announce(written, **options)
        announcer.flush()
        return written.path

    def taken_in():
        return {plain(name) for name in facility.datasets()[0]}

    daemon = facility.start(**clock.environment)
    announce()
    wait_until(lambda: taken_in() == names, "one file before anything happens")

    late = announce()
    hidden = late.with_suffix(".hidden")
    late.rename(hidden)
    put_off = "SELECT COUNT(*) FROM outcomes WHERE outcome = 'deferred'"
    wait_until(
        lambda: facility.journal(put_off)[0][0] >= 1, "a missing file is put off"
    )
    clock.set(-HOUR)
    hidden.rename(late)
    # Writable, and of the future by the clock that was set back.
    announce().chmod(0o644)
    announce()
    wait_until(lambda: taken_in() == names, "all files after the clock was set back")

    clock.set(0)
    announce()
    wait_until(lambda: taken_in() == names, "one more after it was set right")
    daemon.terminate()
    assert daemon.wait(60) == 0
    assert len(facility.read("icat-stream.events")) == len(names)
    assert facility.read("icat-stream.dead-letters") == []
    assert max(facility.datasets()[0].values()) == 1
