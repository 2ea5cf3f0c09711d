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


@pytest.mark.parametrize(
    "fstab, mounts, path, point",
    [
        ("//nas/a /home/anna/nas cifs", "/home/anna/nas/in cifs", "/home/anna/nas/in", None),  # BindPaths=
        ("//nas/a /srv/in cifs", "/srv/in ext4", "/srv/in", "/srv/in"),  # ReadWritePaths=, nothing mounted
        ("//nas/a /srv/in cifs", "/srv/in ext4\n/srv/in cifs", "/srv/in", None),
        ("/dev/sdb /mnt auto nofail", "/mnt/nas cifs", "/mnt/nas/in", None),
        ("/dev/sdb /mnt auto nofail", "/srv ext4", "/mnt/in", "/mnt"),
        ("nas:/v /srv/nas/ nfs", "/srv ext4", "/srv/nas/in", "/srv/nas"),
        ("nas:/v /srv/nas nfs", "/srv/nas nfs4", "/srv/nas/in", None),
        ("nas:/v /srv/nas nfs x-systemd.automount", "/srv/nas autofs", "/srv/nas/in", None),
        ("/dev/sdb /media/disk ntfs", "/media/disk fuseblk", "/media/disk/in", None),
        ("//nas/a /srv/nas cifs", "/srv/nas cifs\n/srv/nas/usb ext4", "/srv/nas/usb/in", None),
    ],
)
def test_what_is_mounted_is_what_fstab_names(tmp_path, fstab, mounts, path, point):
    (tmp_path / "fstab").write_text(f"{fstab} 0 0\n")
    lines = (line.split() for line in ("/ ext4", *mounts.splitlines()))
    (tmp_path / "mountinfo").write_text("".join(f"30 22 0:40 / {at} rw - {kind} x rw\n" for at, kind in lines))
    assert unmounted(Path(path), tmp_path / "fstab", tmp_path / "mountinfo") == (Path(point) if point else None)


def test_a_link_may_lead_from_one_disk_to_another(tmp_path):
    home, music = tmp_path / "home", tmp_path / "data/Music"
    home.mkdir()
    music.mkdir(parents=True)
    (home / "Music").symlink_to(music)
    (tmp_path / "fstab").write_text(f"/dev/sdb {home} ext4\n")
    (tmp_path / "mountinfo").write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 8:2 / {home} rw - ext4 /dev/sdb rw\n"
    )
    assert unmounted(home / "Music/in", tmp_path / "fstab", tmp_path / "mountinfo") is None
