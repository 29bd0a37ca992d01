"""An acquisition as a beamline drives it, by pyicat-plus in its own environment.

python pyicat_acquisition.py BROKER PROPOSAL BEAMLINE FOLDER
python pyicat_acquisition.py BROKER PROPOSAL BEAMLINE FOLDER DATASET_ID
"""

import sys
from datetime import UTC, datetime

from pyicat_plus.client.main import IcatClient

broker, proposal, beamline, folder, *ids = sys.argv[1:]
client = IcatClient(
    metadata_urls=[broker],
    metadata_queue="icatIngest",
    update_metadata_urls=[broker],
    update_metadata_queue="icatUpdateDatasetMetadata",
    add_files_urls=[broker],
    add_files_queue="icatDataFiles",
    reschedule_investigation_urls=[broker],
    reschedule_investigation_queue="rescheduleInvestigation",
    proposal=proposal,
    beamline=beamline,
)
raw, processed = f"{folder}/scan1", f"{folder}/fit1"
if not ids:
    client.start_investigation(start_datetime=datetime(2026, 3, 10, 9, tzinfo=UTC))
    details = {
        "Sample_name": "iron",
        "startDate": datetime(2026, 3, 10, 10, tzinfo=UTC),
        "endDate": datetime(2026, 3, 10, 11, tzinfo=UTC),
    }
    client.store_dataset(dataset="scan1", path=raw, metadata=details)
    client.store_processed_data(
        dataset="fit1", path=processed, metadata=details, raw=[raw]
    )
else:
    client.update_metadata(
        dataset_paths=raw, metadata_name="scanType", metadata_value="loop"
    )
    client.add_files(dataset_id=int(ids[0]))
    client.reschedule_investigation(investigation_id="4711")
client.disconnect()
