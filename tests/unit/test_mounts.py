"""What /etc/fstab promises and the kernel tells."""

from pathlib import Path

import pytest

from stemd.mounts import unmounted


@pytest.fixture
def tables(tmp_path):
    """A machine with one of three shares mounted."""
    (tmp_path / "fstab").write_text(
        "# /dev/sdb1 /srv/old ext4\n\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n"
        "//nas/a /srv/a cifs _netdev 0 0\nnas:/b /srv/b nfs defaults\n/dev/sdc1 /media/My\\040Disk exfat noauto\n"
    )
    (tmp_path / "mountinfo").write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:40 / /srv/a rw - cifs //nas/a rw\n"
    )
    return tmp_path / "fstab", tmp_path / "mountinfo"


@pytest.mark.parametrize(
    "path, point",
    [
        ("/srv/a/in", None), ("/srv/a", None), ("/srv/b/in/x", "/srv/b"), ("/srv/b", "/srv/b"), ("/srv/bb", None),
        ("/srv/old/in", None), ("/media/My Disk/in", "/media/My Disk"), ("/", None),
    ],
)  # fmt: skip
def test_a_mount_point_of_fstab_with_nothing_on_it_is_found(tables, path, point):
    assert unmounted(Path(path), *tables) == (Path(point) if point else None)


def test_a_link_into_a_share_is_followed_and_a_machine_without_fstab_has_none(tables, tmp_path):
    (tmp_path / "link").symlink_to("/srv/b/in")
    assert unmounted(tmp_path / "link/new", *tables) == Path("/srv/b")
    assert unmounted(Path("/srv/b"), tmp_path / "none", tables[1]) is None
