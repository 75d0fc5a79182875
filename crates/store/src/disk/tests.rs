#![allow(clippy::unwrap_used)]

use super::*;
use std::os::unix::fs::PermissionsExt;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_are_for_their_owner_only_and_take_their_room_at_once() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("a/b");
    let disk = Directory::new(&path).unwrap();
    let file = disk.create("one", 100_000).unwrap();
    assert_eq!((mode(&path), mode(&path.join("one"))), (0o700, 0o600));
    assert_eq!(file.len().unwrap(), 100_000);
    assert_eq!(
        disk.create("one", 1).err().map(|e| e.kind()),
        Some(io::ErrorKind::AlreadyExists)
    );
    file.write_all_at(99_998, b"abcd").unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    disk.rename("one", "two").unwrap();
    assert_eq!(
        disk.list().unwrap(),
        [Entry {
            name: "two".to_owned(),
            bytes: 100_002
        }]
    );
    let mut end = [0; 4];
    disk.open("two")
        .unwrap()
        .read_exact_at(99_998, &mut end)
        .unwrap();
    assert_eq!(&end, b"abcd");
    assert_eq!(
        file.read_exact_at(100_000, &mut end).map_err(|e| e.kind()),
        Err(io::ErrorKind::UnexpectedEof)
    );
    file.set_len(3).unwrap();
    assert_eq!(file.len().unwrap(), 3);
    disk.remove("two").unwrap();
    assert!(disk.open("two").is_err());
    assert!(disk.free_bytes().unwrap() > 0);
}

#[test]
fn a_file_for_which_there_is_no_room_is_not_left_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let disk = Directory::new(temporary.path()).unwrap();
    assert!(disk.create("huge", 1 << 60).is_err());
    assert!(disk.list().unwrap().is_empty());
}
