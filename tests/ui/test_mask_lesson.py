"""The lesson on masks says the same as the files that are saved."""

import csv
import io
import re
from pathlib import Path

from ui import mask_lesson
from ui.uploads import Upload

NUCLEI = Path(__file__).parent.parent.parent / "examples" / "nuclei.png"


def test_the_map_of_objects_says_the_rows_of_the_csv_file() -> None:
    upload = Upload(str(NUCLEI))

    shown = mask_lesson.show_objects(upload, "nuclei")[0]

    found = upload.mask("nuclei").instances
    assert found
    rows = list(csv.DictReader(io.StringIO(found.objects.csv())))
    said = re.findall(r"No\. (\d+): ([\d,]+) px, centre at x ([\d,.]+), y ([\d,.]+)", shown)
    assert len(rows) > 50
    assert sorted((int(number), int(area.replace(",", ""))) for number, area, *_ in said) == [
        (int(row["number"]), int(row["area"])) for row in rows
    ]
    centres = {number: (float(x), float(y)) for number, _, x, y in said}
    for row in rows:
        assert abs(centres[row["number"]][0] - float(row["centroid_x"])) <= 0.051
        assert abs(centres[row["number"]][1] - float(row["centroid_y"])) <= 0.051
