"""The real TensorBoard reads a run's events: every figure of metrics.jsonl, pictures, and a resume that goes back."""
import io
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

RECIPE = """[data]
name = "two-moons"
[network]
kind = "mlp"
widths = [16]
[train]
metrics_every = 1
checkpoint_every = 4
samples_every = 4
[phase.train]
steps = 12
batch = 16
[phase.train.energy_matching]
[sampling]
flow_steps = 2
"""

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "recipe.toml").write_text(RECIPE)
    run = folder / "run"
    subprocess.run([sys.argv[1], "train", folder / "recipe.toml", "--out", run], check=True, stdout=subprocess.DEVNULL)
    # Back to step 4 and on: TensorBoard must show steps 5 to 12 once.
    subprocess.run([sys.argv[1], "train", "--resume", run / "checkpoints/000004"], check=True, stdout=subprocess.DEVNULL)
    assert len(list((run / "tensorboard").iterdir())) == 2
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 13)), records
    for tag in records[0].keys() - {"step", "phase"}:
        shown = {event.step: event.value for event in events.Scalars(tag)}
        assert len(events.Scalars(tag)) == len(shown) == 12, (tag, shown)
        for record in records:
            assert abs(shown[record["step"]] - record[tag]) <= 1e-6 * abs(record[tag]), (tag, record)
    pictures = events.Images("samples")
    assert [picture.step for picture in pictures] == [4, 8, 12], [picture.step for picture in pictures]
    for picture in pictures:
        size = Image.open(io.BytesIO(picture.encoded_image_string)).size
        assert size == (picture.width, picture.height) and picture.width > 16, size
