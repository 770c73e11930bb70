"""300-VW, videos of one face each with 68 points in every frame.

ROOT/NNN/vid.avi, ROOT/NNN/annot/%06d.pts     the .pts files count frames from 1; ROOT may hold 300VW_Dataset_2015_12_14

50 videos are for training; 64 for testing, in category 1 (well lit, 31), 2 (mild unconstrained, 19), 3 (challenging, 14).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from semalign.data.formats.base import Bad, Entry, Note, Reader
from semalign.data.formats.common import subfolders
from semalign.data.pts import read_pts
from semalign.data.samples import Sample, Split
from semalign.data.truth import read_description
from semalign.data.video import open_video
from semalign.errors import SemalignError

VIDEO, ANNOTATIONS = "vid.avi", "annot"


@dataclass(frozen=True)
class Part:
    """One of the official lists of videos."""

    subset: str
    split: Split
    listed: str

    @property
    def videos(self) -> tuple[str, ...]:
        """The names of its videos' folders."""
        return tuple(self.listed.split())


OFFICIAL = (
    Part(
        "train",
        "train",
        "001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037 039 041 043"
        " 044 046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225",
    ),
    Part(
        "category-1",
        "test",
        "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 537 538 540 541"
        " 546 547 548",
    ),
    Part("category-2", "test", "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553"),
    Part("category-3", "test", "410 411 516 517 526 528 529 530 531 533 557 558 559 562"),
)
# Frames published as broken, by the numbers of the .pts files (from 1); the list is that of MMPose's converter.
BROKEN = {
    "401": "722-724 727-731 788-789 792 795 810-811 850-891 897-898 902-903 910-911 913-923 1122-1137 1140 1143-1158"
    " 1160-1164 1381 1543-1545 1605-1606 1614-1615 1618",
    "402": "677-678 682 686-695 805-814 1015-1042 1068 1075-1078 1080 1082-1096 1664 1666-1701",
    "410": "148 150 176 178-180 182-184 186-188 190-192 194-196 198-200 202-204 206-208 283-284 286-288 290-292 294"
    " 316-344 542-543 626 686-688 690-692 694-695 700 816 823-832 834-835 1058-1059 1118-1132 1183-1192 1194 1218-1230"
    " 1232 1234-1235 1239-1240 1242-1243 1282-1284 1286-1288 1290-1292 1294",
    "411": "19-20 60 80 82-120 231-232 234-370 454-475 480 486-517 522-573 578 627-631 702-703 707 1271-1272 1274-1289",
    "508": "14 147-150 267-274 367-368 370-373 382 613 618 831-832 870 930-935 1029 1086-1088 1175-1176 1179-1184"
    " 1186-1192 1280-1293 1316 1501-1502 1927-1928 1930-1935 1973-1974 1987 1989 2008 2036 2039-2040 2042-2046 2239 2382"
    " 2404-2405 3018 3123-3128",
    "518": "392 475-480 482-512 514-518 633 670-671 780-784 786 1607-1624 1626-1632 1634-1640 1706-1744 1746-1752"
    " 1754-1760 1762-1767 1954-1968 1970-1997 2003-2008 2028 2046 2055-2068",
    "529": "90-96 133 139 605 644-648 650-656 659 661 691-692 1340-1344 1346-1349 1357 1367-1368 1370-1376 1422-1424 1483"
    " 1824 1908-1912 1914-1920 1922 2058-2063 2075-2080 2226-2228 2248 2250-2256 2258-2264 2266-2268 2288 2290 2422-2424"
    " 2426-2432 2434-2440 2442-2444 2484 2487 2498-2503 2834-2840 3007",
    "530": "554-556 720 726-728 730-736 738-744 828-832 834-840 842-848 874-880 882-888 890-896 898-901 927-928 935-936"
    " 1186-1188 1247-1248 1250 1276 1296 1356-1361 1426-1427 1802-1803 1820 2074-2080 2082-2088 2090-2096",
    "531": "109 279-287 322-325",
    "533": "1062-1188 1232-1240 1245-1255 1257-1326 1379-1380 1403-1407 1424 1426-1427 1484-1485 1498-1500 1504-1505",
    "540": "744 746-750",
    "547": "111-112 114-120 122-128 130-135 959 978 1050-1055",
    "548": "429-432 434-440 442-448 450 582-584 586-592 594-600 602 624 626 642 804-808 898-904 906-912 914-920 922-924"
    " 1170-1207 1260-1288 1394 1488 1490",
    "551": "180-181 298-302 494 506-509 516 562-568 675-680 682-684 686-688 690 790-792",
    "553": "551-560 713 761-763 775-776 778-780 783-784 786-792 808-809 1366",
    "557": "22 32-49 57 75 177 180-231 345-379 412-469 524 536 538-539 544 546 621-623 778-780 785 793 801 809 820-822"
    " 994-995 1009 1017 1036 1096-1097 1105 1156-1189 1305 1308-1357 1532-1563 1587 1593 1601 1604 1609 1614 1617"
    " 1622-1623 1625-1651 1653 1657 1671-1715",
}


@dataclass(frozen=True)
class Vw300(Reader):
    """Samples come by list, video and frame. `image` is the video, `frame` the number from 0.

    The id is NNN/ and the number of the .pts file, the subset "train" or "category-1" to "category-3". Frames known to
    be broken are left out, and so are annotations beyond a video's last frame.

    Raises:
        SemalignError: `every` is below 1.
    """

    name, title, wanted, scheme = "300vw", "300-VW", f"001/{VIDEO}", "ibug68"
    origin = 1
    every: int = 1  # take every so many frames only, beginning with the first

    def __post_init__(self) -> None:
        if self.every < 1:
            raise SemalignError(f"every is {self.every}, which leaves no frames; choose 1 or more.")

    def holds(self, place: Path) -> bool:
        """Whether there is the video or the annotations of one of the official names."""
        folders = [f"{place}/{video}" for part in OFFICIAL for video in part.videos]
        return any(
            os.path.isfile(f"{folder}/{VIDEO}") or os.path.isdir(f"{folder}/{ANNOTATIONS}") for folder in folders
        )

    def entries(self, place: Path) -> Iterator[Entry | Bad | Note]:
        """The frames that have a .pts file; notes say which are left out and which videos are missing."""
        synthetic = read_description(place) is not None  # which borrows the official names
        for part in OFFICIAL:
            present = [video for video in part.videos if (place / video).is_dir()]
            for video in present:
                yield from self._frames(place / video, part, frozenset() if synthetic else broken_frames(video))
            missing = [video for video in part.videos if video not in present]
            if missing:
                counts = f"{len(present)} of the official {len(part.videos)} videos"
                yield Note(f"{part.subset} has {counts}; {', '.join(missing)} missing.")
        listed = {video for part in OFFICIAL for video in part.videos}
        unlisted = [path.name for path in subfolders(place) if path.name not in listed and (path / VIDEO).is_file()]
        if unlisted:
            yield Note(f"{', '.join(unlisted)}: on none of the official lists, left out.")
        if self.every > 1:
            yield Note(f"Every {self.every} frames one was taken.")

    def _frames(self, folder: Path, part: Part, broken: frozenset[int]) -> Iterator[Entry | Bad | Note]:
        """The frames of one video."""
        try:
            numbers = _annotated(folder / ANNOTATIONS)
            frames = open_video(folder / VIDEO).claimed_frames or len(numbers)
        except SemalignError as error:
            yield Bad(f"{folder.name}/{VIDEO}", error)
            return
        broken = broken.intersection(numbers)
        for number in numbers:
            if number not in broken and number <= frames and (number - 1) % self.every == 0:
                path = folder / ANNOTATIONS / f"{number:06d}.pts"
                yield Entry(f"{folder.name}/{path.stem}", str(path), partial(_sample, path, part))
        if broken:
            yield Note(f"{folder.name}: {len(broken)} frames known to be broken were left out.")
        beyond = sum(number > frames for number in numbers)
        if beyond:
            yield Note(f"{folder.name}: {beyond} annotations beyond the video's last frame ({frames}) were left out.")
        elif len(numbers) != frames:
            yield Note(f"{folder.name}: {len(numbers)} of {frames} frames are annotated.")


def broken_frames(video: str) -> frozenset[int]:
    """Numbers (from 1, those of the .pts files) of the frames of an official video that are known to be broken."""
    ranges = (item.partition("-") for item in BROKEN.get(video, "").split())
    return frozenset(number for first, _, last in ranges for number in range(int(first), int(last or first) + 1))


def _annotated(folder: Path) -> list[int]:
    """The numbers of the .pts files in a folder, ascending.

    Raises:
        SemalignError: it cannot be read, holds none, or one whose name is no number from 1.
    """
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".pts") and not name.startswith(".")]
    except OSError as error:
        raise SemalignError(f"{folder}: cannot be read ({error.strerror}); restore the annotations.") from error
    for name in names:
        if not (name[:-4].isascii() and name[:-4].isdigit() and int(name[:-4]) > 0):
            raise SemalignError(f"{folder / name}: its name is no number of a frame from 1; rename or remove it.")
    if not names:
        raise SemalignError(f"{folder}: holds no .pts file; restore the annotations or remove the video.")
    return sorted(int(name[:-4]) for name in names)


def _sample(annotation: Path, part: Part) -> Sample:
    folder, number = annotation.parents[1], annotation.stem
    points = read_pts(annotation)
    return Sample(f"{folder.name}/{number}", folder / VIDEO, points, part.split, part.subset, frame=int(number) - 1)


READER = Vw300()
