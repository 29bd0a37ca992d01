"""NeXus files as two kinds of file writer leave them, for trying and testing.

Both layouts hold about twenty quantities with units and are made from a seed: the
same arguments give the same content.  All people, proposals and numbers are invented.

``write_ess_like``: HDF5 ``latest``, grown in SWMR mode, mode 0444 at the end, scalars,
variable-length UTF-8 strings, ``@units`` as str, times with ``Z``.

=======================================================  ==========  =================
Path                                                     units       example
=======================================================  ==========  =================
``/@default``, ``@file_name``, ``@file_time``,                       ``entry``
``@creator``, ``@NeXus_version``
``/entry`` (NXentry)
``/entry/title``                                                     text
``/entry/experiment_identifier``                                     the proposal
``/entry/experiment_description``                                    text
``/entry/entry_identifier``                                          run, ``00000007``
``/entry/entry_identifier_uuid``                                     the job id
``/entry/definition``                                                ``NXsas``
``/entry/start_time``, ``/entry/end_time``                           ``…T08:00:00.000Z``
``/entry/instrument/name`` ``@short_name``                           ``Lumen``, ``LUM``
``/entry/instrument/source/name``, ``type``, ``probe``               text
``/entry/instrument/source/power``                       MW          2.0
``/entry/instrument/source/frequency``                   Hz          14.0
``/entry/instrument/monochromator/wavelength``           angstrom    6.0
``/entry/instrument/monochromator/wavelength_spread``    (none)      0.1
``/entry/instrument/monochromator/energy``               meV         2.27
``/entry/instrument/collimator/length``                  m           8.0
``/entry/instrument/aperture/x_gap``, ``y_gap``          mm          10.0
``/entry/instrument/chopper/rotation_speed``             rpm         840.0
``/entry/instrument/chopper/phase``                      deg         12.0
``/entry/instrument/detector/distance``                  m           12.0
``/entry/instrument/detector/polar_angle``               deg         0.5
``/entry/instrument/detector/count_time``                s           600.0
``/entry/instrument/detector/total_counts``              counts      int
``/entry/instrument/detector/event_id``,                 (none), ns  arrays
``event_time_offset``
``/entry/instrument/beam_monitor/integral``              counts      int
``/entry/sample/name``, ``sample_id``,                               text
``chemical_formula``, ``type``
``/entry/sample/mass``                                   g           1.2
``/entry/sample/thickness``                              mm          1.0
``/entry/sample/temperature/average_value``,             K           295.0
``minimum_value``, ``maximum_value``, ``value``
``/entry/sample/temperature/time``                       s           array
``/entry/sample/magnetic_field/average_value``           T           0.5
``/entry/sample/pressure/average_value``                 bar         1.01
``/entry/user_*/name``, ``role``, ``affiliation``,                   two users, one of
``facility_user_id``                                                 non-ASCII name
=======================================================  ==========  =================

``write_isis_like``: HDF5 ``earliest``, written and closed, mode left alone, arrays of
shape ``(1,)``, fixed-length bytes, ``@units`` as bytes, local times without a zone.
One user's name is Latin-1, as old acquisition programs write it.

=======================================================  ==========  =================
Path                                                     units       example
=======================================================  ==========  =================
``/@file_name``, ``@file_time``, ``@NeXus_version``
``/raw_data_1`` (NXentry)
``/raw_data_1/title``                                                text
``/raw_data_1/definition``                                           ``NXtofraw``
``/raw_data_1/run_number``                               (none)      int
``/raw_data_1/experiment_identifier``                                the proposal
``/raw_data_1/name``, ``beamline``                                   ``BOREAS``
``/raw_data_1/run_cycle``                                            ``26_3``
``/raw_data_1/start_time``, ``end_time``                             ``…T08:00:00``
``/raw_data_1/duration``, ``collection_time``            second      600.0
``/raw_data_1/proton_charge``                            uA.hour     24.3
``/raw_data_1/good_frames``, ``raw_frames``              (none)      int
``/raw_data_1/total_counts``                             counts      int
``/raw_data_1/instrument/name``                                      ``BOREAS``
``/raw_data_1/instrument/source/name``, ``type``,                    text
``probe``
``/raw_data_1/instrument/source/frequency``              Hz          50.0
``/raw_data_1/instrument/moderator/distance``            metre       -25.0
``/raw_data_1/instrument/chopper/frequency``             Hz          25.0
``/raw_data_1/instrument/chopper/delay``                 us          4200.0
``/raw_data_1/instrument/detector_1/distance``           metre       4.1
``/raw_data_1/instrument/detector_1/counts``             counts      array
``/raw_data_1/instrument/detector_1/time_of_flight``     us          array
``/raw_data_1/monitor_1/distance``                       metre       -2.5
``/raw_data_1/monitor_1/integral``                       counts      int
``/raw_data_1/sample/name``, ``id``, ``type``, ``shape``             text
``/raw_data_1/sample/height``, ``width``, ``thickness``  mm          10.0
``/raw_data_1/sample/temperature``                       K           4.2
``/raw_data_1/selog/Temp_Sample/value_log/               K           4.2
average_value``, ``value``
``/raw_data_1/selog/Field_Main/value_log/                tesla       1.5
average_value``, ``value``
``/raw_data_1/selog/*/value_log/time``                   second      array
``/raw_data_1/periods/number``                           (none)      1
``/raw_data_1/user_1``, ``user_2``: ``name``, ``role``,              two users
``affiliation``
=======================================================  ==========  =================

h5py and numpy are imported when the first file is written.
"""

import random
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ESS_INSTRUMENT = "Lumen"
ESS_INSTRUMENT_SHORT = "LUM"
ISIS_INSTRUMENT = "BOREAS"

# The writer answers for these on the night shift; nobody by these names exists.
_ESS_USERS = (
    ("Zsófia Quillfeather", "Principal Investigator", "Institute of Amber"),
    ("Bram Oldenmoor", "Participant", "Polder University"),
)
_ISIS_USERS = (
    ("Öla Fährnbrück", "Principal Investigator", "Harbour College"),
    ("Tilly Ravenscombe", "Participant", "Institute of Amber"),
)
_SAMPLES = (
    ("silica in heavy water", "SiO2", "sample+can"),
    ("vanadium rod", "V", "calibration sample"),
    ("nickel ferrite powder", "Fe2NiO4", "sample"),
    ("lipid bilayer β-phase", "C40H80NO8P", "sample"),
)
_EPOCH = datetime(2026, 3, 2, 8, 0, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """What was written, for whoever announces it.

    Parameters
    ----------
    path
        Where.
    job_id
        UUID of the writing job; ``entry_identifier_uuid`` of the ESS-like layout.
    proposal, run
        As given.
    instrument
        Name of the instrument.
    sample
        Name of the sample.
    start, end
        Of the run; ``end`` also for an unfinished file.
    """

    path: Path
    job_id: str
    proposal: str
    run: int
    instrument: str
    sample: str
    start: datetime
    end: datetime


def write_ess_like(
    path: Path,
    *,
    proposal: str,
    run: int,
    seed: int = 0,
    job_id: str | None = None,
    start: datetime | None = None,
    finished: bool = True,
) -> SampleFile:
    """Write a file like those of an ESS file writer steered by NICOS.

    Parameters
    ----------
    path
        Of the new file; it must not exist yet.
    proposal
        Number of the proposal, the name of the investigation.
    run
        Number of the run.
    seed
        Decides on sample, times and values, together with the run.
    job_id
        UUID of the job; made from seed and run by default.
    start
        Aware start of the run; made from the run by default.
    finished
        ``False`` leaves the file as a writer that died early leaves it: closed, but
        writable and without ``end_time``.
    """
    with writing_ess_like(
        path,
        proposal=proposal,
        run=run,
        seed=seed,
        job_id=job_id,
        start=start,
        finish=finished,
    ) as written:
        return written


@contextmanager
def writing_ess_like(
    path: Path,
    *,
    proposal: str,
    run: int,
    seed: int = 0,
    job_id: str | None = None,
    start: datetime | None = None,
    finish: bool = True,
) -> Iterator[SampleFile]:
    """Write as :func:`write_ess_like`, holding the file open in SWMR mode.

    Inside the ``with`` block the file is what readers of an early announcement
    meet: open for writing, without ``end_time``.  At its end the file is finished.
    """
    import h5py

    rng = random.Random(f"ess/{seed}/{run}")  # noqa: S311 - reproducible on purpose
    written = _describe(
        path, proposal, run, rng, job_id=job_id, start=start, instrument=ESS_INSTRUMENT
    )
    sample_formula, sample_type = _sample_details(written.sample)
    with h5py.File(path, "x", libver="latest") as file:
        file.attrs.update(
            {
                "default": "entry",
                "file_name": str(path),
                "file_time": _iso_z(written.start),
                "creator": "icat-stream sample generator",
                "NeXus_version": "4.4.3",
            }
        )
        entry = _group(file, "entry", "NXentry")
        _texts(
            entry,
            title=f"{written.sample}, run {run}",
            experiment_identifier=proposal,
            experiment_description=f"Small-angle scattering of {written.sample}",
            entry_identifier=f"{run:08}",
            entry_identifier_uuid=written.job_id,
            definition="NXsas",
            start_time=_iso_z(written.start),
        )
        for name, role, affiliation in _ESS_USERS:
            user = _group(entry, f"user_{name.replace(' ', '')}", "NXuser")
            _texts(user, name=name, role=role, affiliation=affiliation)
            _texts(user, facility_user_id=name.split()[-1].lower())
        _ess_instrument(entry, rng, (written.end - written.start).total_seconds())
        sample = _group(entry, "sample", "NXsample")
        _texts(
            sample,
            name=written.sample,
            sample_id=f"{proposal}-{rng.randint(1, 9)}",
            chemical_formula=sample_formula,
            type=sample_type,
        )
        _scalar(sample, "mass", round(rng.uniform(0.1, 5), 3), "g")
        _scalar(sample, "thickness", rng.choice([1.0, 2.0]), "mm")
        _log(sample, "temperature", rng, rng.uniform(4, 320), "K")
        _log(sample, "magnetic_field", rng, rng.uniform(0, 7), "T")
        _log(sample, "pressure", rng, 1.01, "bar")
        file.swmr_mode = True
        events = entry["instrument/detector/event_id"]
        offsets = entry["instrument/detector/event_time_offset"]
        for _ in range(4):  # pulses arrive one after the other
            for grown in (events, offsets):
                size = grown.shape[0]
                grown.resize((size + 128,))
                grown[size:] = [rng.randrange(10**6) for _ in range(128)]
                grown.flush()
        yield written
    if finish:
        with h5py.File(path, "r+", libver="latest") as file:
            _texts(file["entry"], end_time=_iso_z(written.end))
        path.chmod(0o444)


def write_isis_like(
    path: Path,
    *,
    proposal: str,
    run: int,
    seed: int = 0,
    job_id: str | None = None,
    start: datetime | None = None,
    finished: bool = True,
) -> SampleFile:
    """Write a file like those of the acquisition programs at ISIS.

    Parameters
    ----------
    path
        Of the new file; it must not exist yet.
    proposal
        Number of the proposal, the name of the investigation.
    run
        Number of the run.
    seed
        Decides on sample, times and values, together with the run.
    job_id
        UUID of the job for its announcement; the file does not hold it.
    start
        Aware start of the run, written as its wall time without a zone.
    finished
        ``False`` leaves out ``end_time`` and ``duration``.
    """
    import h5py
    import numpy as np

    rng = random.Random(f"isis/{seed}/{run}")  # noqa: S311 - reproducible on purpose
    written = _describe(
        path, proposal, run, rng, job_id=job_id, start=start, instrument=ISIS_INSTRUMENT
    )
    sample_type = _sample_details(written.sample)[1]
    seconds = (written.end - written.start).total_seconds()
    frames = int(seconds * 50)
    with h5py.File(path, "x", libver="earliest") as file:
        file.attrs["file_name"] = np.bytes_(path.name.encode())
        file.attrs["file_time"] = np.bytes_(_iso_local(written.start))
        file.attrs["NeXus_version"] = np.bytes_("4.3.0")
        entry = _group(file, "raw_data_1", "NXentry", as_bytes=True)
        _bytes(
            entry,
            title=f"{written.sample} run {run}",
            definition="NXtofraw",
            experiment_identifier=proposal,
            name=ISIS_INSTRUMENT,
            beamline=ISIS_INSTRUMENT,
            run_cycle="26_3",
            start_time=_iso_local(written.start),
        )
        if finished:
            _bytes(entry, end_time=_iso_local(written.end))
            _ones(entry, {"duration": np.float32(seconds)}, "second")
        _ones(entry, {"run_number": np.int32(run)})
        _ones(entry, {"collection_time": np.float32(seconds)}, "second")
        charge = np.float32(seconds * rng.uniform(0.035, 0.045))
        _ones(entry, {"proton_charge": charge}, "uA.hour")
        _ones(entry, {"good_frames": np.int32(frames - rng.randrange(40))})
        _ones(entry, {"raw_frames": np.int32(frames)})
        counts = np.int32(rng.randrange(10**5, 10**8))
        _ones(entry, {"total_counts": counts}, "counts")
        _isis_instrument(entry, rng)
        monitor = _group(entry, "monitor_1", "NXmonitor", as_bytes=True)
        _ones(monitor, {"distance": np.float32(-2.5)}, "metre")
        _ones(monitor, {"integral": np.int32(counts // 7)}, "counts")
        sample = _group(entry, "sample", "NXsample", as_bytes=True)
        identifier = str(rng.randint(1, 99))
        _bytes(sample, name=written.sample, id=identifier, type=sample_type)
        _bytes(sample, shape=rng.choice(["cylinder", "flat plate"]))
        kelvin = rng.uniform(1.5, 300)
        size = {"height": np.float32(40), "width": np.float32(10)}
        _ones(sample, size | {"thickness": np.float32(rng.choice([1, 2]))}, "mm")
        _ones(sample, {"temperature": np.float32(kelvin)}, "K")
        logs = _group(entry, "selog", "IXselog", as_bytes=True)
        for name, value, units in (
            ("Temp_Sample", kelvin, "K"),
            ("Field_Main", rng.uniform(0, 5), "tesla"),
        ):
            block = _group(logs, name, "IXseblock", as_bytes=True)
            _log(block, "value_log", rng, value, units, as_ones=True)
        periods = _group(entry, "periods", "IXperiods", as_bytes=True)
        _ones(periods, {"number": np.int32(1)})
        for number, (name, role, affiliation) in enumerate(_ISIS_USERS, 1):
            user = _group(entry, f"user_{number}", "NXuser", as_bytes=True)
            _bytes(user, role=role, affiliation=affiliation)
            _bytes(user, encoding="latin-1", name=name)
    return written


def _ess_instrument(entry: Any, rng: random.Random, seconds: float) -> None:
    """Fill the instrument group of the ESS-like layout."""
    instrument = _group(entry, "instrument", "NXinstrument")
    _texts(instrument, name=ESS_INSTRUMENT)
    instrument["name"].attrs["short_name"] = ESS_INSTRUMENT_SHORT
    source = _group(instrument, "source", "NXsource")
    _texts(source, name="Sample Spallation Source", probe="neutron")
    _texts(source, type="Spallation Neutron Source")
    _scalar(source, "power", 2.0, "MW")
    _scalar(source, "frequency", 14.0, "Hz")
    monochromator = _group(instrument, "monochromator", "NXmonochromator")
    wavelength = rng.choice([4.5, 6.0, 9.0])
    _scalar(monochromator, "wavelength", wavelength, "angstrom")
    _scalar(monochromator, "wavelength_spread", 0.1, None)
    _scalar(monochromator, "energy", round(81.804 / wavelength**2, 4), "meV")
    collimator = _group(instrument, "collimator", "NXcollimator")
    _scalar(collimator, "length", rng.choice([2.0, 4.0, 8.0]), "m")
    aperture = _group(instrument, "aperture", "NXslit")
    _scalar(aperture, "x_gap", 10.0, "mm")
    _scalar(aperture, "y_gap", 12.0, "mm")
    chopper = _group(instrument, "chopper", "NXdisk_chopper")
    _scalar(chopper, "rotation_speed", 840.0, "rpm")
    _scalar(chopper, "phase", round(rng.uniform(0, 90), 2), "deg")
    detector = _group(instrument, "detector", "NXdetector")
    _scalar(detector, "distance", rng.choice([2.0, 8.0, 12.0]), "m")
    _scalar(detector, "polar_angle", 0.5, "deg")
    _scalar(detector, "count_time", seconds, "s")
    _scalar(detector, "total_counts", rng.randrange(10**5, 10**9), "counts")
    for name, units in (("event_id", None), ("event_time_offset", "ns")):
        events = detector.create_dataset(
            name, shape=(0,), maxshape=(None,), chunks=(256,), dtype="u4"
        )
        if units:
            events.attrs["units"] = units
    monitor = _group(instrument, "beam_monitor", "NXmonitor")
    _scalar(monitor, "integral", rng.randrange(10**4, 10**7), "counts")


def _isis_instrument(entry: Any, rng: random.Random) -> None:
    """Fill the instrument group of the ISIS-like layout."""
    import numpy as np

    instrument = _group(entry, "instrument", "NXinstrument", as_bytes=True)
    _bytes(instrument, name=ISIS_INSTRUMENT)
    source = _group(instrument, "source", "NXsource", as_bytes=True)
    _bytes(source, name="Sample Source", type="Pulsed Neutron Source", probe="neutrons")
    _ones(source, {"frequency": np.float32(50)}, "Hz")
    moderator = _group(instrument, "moderator", "NXmoderator", as_bytes=True)
    _ones(moderator, {"distance": np.float32(-25)}, "metre")
    chopper = _group(instrument, "chopper", "NXdisk_chopper", as_bytes=True)
    _ones(chopper, {"frequency": np.float32(25)}, "Hz")
    delay = np.float32(rng.choice([2100, 4200, 8400]))
    _ones(chopper, {"delay": delay}, "us")
    detector = _group(instrument, "detector_1", "NXdetector", as_bytes=True)
    _ones(detector, {"distance": np.float32(4.1)}, "metre")
    counts = [[[rng.randrange(200) for _ in range(50)] for _ in range(8)]]
    detector.create_dataset("counts", data=np.array(counts, "i4"))
    detector["counts"].attrs["units"] = np.bytes_("counts")
    edges = np.linspace(500, 20_000, 51, dtype="f4")
    detector.create_dataset("time_of_flight", data=edges)
    detector["time_of_flight"].attrs["units"] = np.bytes_("us")


def _describe(
    path: Path,
    proposal: str,
    run: int,
    rng: random.Random,
    *,
    job_id: str | None,
    start: datetime | None,
    instrument: str,
) -> SampleFile:
    begin = start or _EPOCH + timedelta(hours=run % 2000)
    return SampleFile(
        path=path,
        job_id=job_id or str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        proposal=proposal,
        run=run,
        instrument=instrument,
        sample=rng.choice(_SAMPLES)[0],
        start=begin,
        end=begin + timedelta(seconds=rng.randint(60, 3000)),
    )


def _sample_details(name: str) -> tuple[str, str]:
    return next((formula, kind) for known, formula, kind in _SAMPLES if known == name)


def _iso_z(time: datetime) -> str:
    text = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _iso_local(time: datetime) -> str:
    return time.replace(tzinfo=None).isoformat(timespec="seconds")


def _group(parent: Any, name: str, nx_class: str, *, as_bytes: bool = False) -> Any:
    group = parent.create_group(name)
    if as_bytes:
        import numpy as np

        group.attrs["NX_class"] = np.bytes_(nx_class)
    else:
        group.attrs["NX_class"] = nx_class
    return group


def _texts(group: Any, **values: str) -> None:
    for name, value in values.items():
        group.create_dataset(name, data=value)


def _scalar(group: Any, name: str, value: float, units: str | None) -> None:
    dataset = group.create_dataset(name, data=value)
    if units is not None:
        dataset.attrs["units"] = units


def _bytes(group: Any, *, encoding: str = "utf-8", **values: str) -> None:
    import numpy as np

    for name, value in values.items():
        group.create_dataset(name, data=np.array([value.encode(encoding)]))


def _ones(group: Any, values: Mapping[str, Any], units: str | None = None) -> None:
    import numpy as np

    for name, value in values.items():
        dataset = group.create_dataset(name, data=np.array([value]))
        if units is not None:
            dataset.attrs["units"] = np.bytes_(units)


def _log(
    parent: Any,
    name: str,
    rng: random.Random,
    mean: float,
    units: str,
    *,
    as_ones: bool = False,
) -> None:
    """Write an NXlog with its statistics."""
    import numpy as np

    log = _group(parent, name, "NXlog", as_bytes=as_ones)
    values = [round(mean * rng.uniform(0.98, 1.02), 4) for _ in range(16)]
    log.create_dataset("value", data=np.array(values))
    log.create_dataset("time", data=np.arange(16.0) * 10)
    log["value"].attrs["units"] = np.bytes_(units) if as_ones else units
    time_units = np.bytes_("second") if as_ones else "s"
    log["time"].attrs["units"] = time_units
    statistics = {
        "average_value": round(sum(values) / 16, 4),
        "minimum_value": min(values),
        "maximum_value": max(values),
    }
    for statistic, value in statistics.items():
        if as_ones:
            _ones(log, {statistic: np.float64(value)}, units)
        else:
            _scalar(log, statistic, value, units)
