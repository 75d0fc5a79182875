//! What can still be read of a damaged segment, in a file that takes its place.

use super::{Candidate, Recovery};
use crate::disk::DiskFile;
use crate::frame::{self, Place};
use crate::index::Index;
use crate::record::{put_varint, varint_len};
use crate::segment::{DATA, SegmentHead, Walked, Walker, idx_name, log_name};
use std::io;
use std::sync::Arc;

impl Recovery<'_> {
    /// Writes the whole frames of a damaged segment to a file that takes its place, and sets the damaged one
    /// aside.
    pub(super) fn replace(
        &mut self,
        index: &Index,
        number: u32,
        found: &Candidate,
        file: &Arc<dyn DiskFile>,
        end: u64,
        what: &str,
    ) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let name = log_name(number);
        let new = format!("{number:08}.new");
        let before = index.segments.sealed.values().next_back();
        let head = found.head.unwrap_or(SegmentHead {
            number,
            start: self.position,
            previous: before.map_or(0, |s| s.number),
            previous_end: before.map_or(0, |s| s.end),
            key: self.secret,
            next_owner: index.next_owner,
        });
        match self.disk.remove(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let bytes = found
            .bytes
            .max(self.options.segment_bytes)
            .max(found.end.unwrap_or(DATA));
        let to = self.disk.create(&new, bytes)?;
        let mut at = DATA;
        let mut position = head.start;
        let mut add = |head: frame::Head, records: &[u8]| -> io::Result<u64> {
            let mut bytes = vec![0; frame::HEADER];
            bytes.extend_from_slice(records);
            let head = frame::Head {
                synced: DATA,
                ..head
            };
            let place = Place {
                key: self.secret,
                segment: number,
                offset: at,
            };
            frame::seal(&mut bytes, &place, &head);
            to.write_all_at(at, &bytes)?;
            at += bytes.len() as u64;
            Ok(at)
        };
        let mut whole = DATA;
        let mut walker = Walker::new(Arc::clone(file), self.secret, number, end);
        loop {
            match walker.next()? {
                Walked::Frame(frame) => {
                    position = frame.head.after();
                    whole = add(frame.head, frame.records)?;
                }
                Walked::Bad { .. } => walker.skip()?,
                Walked::End => break,
            }
        }
        // The next segment says where this one ends.
        let gap = found.end.map_or(0, |end| end.saturating_sub(whole));
        if gap > 0 {
            let records = filler(gap as usize - frame::HEADER);
            let len = records.len() as u32;
            add(
                frame::Head {
                    len,
                    moved: true,
                    position,
                    synced: DATA,
                },
                &records,
            )?;
        }
        to.write_all_at(0, &head.encode())?;
        to.sync_data()?;
        self.disk.sync_dir()?;
        self.set_aside(&name)?;
        self.disk.rename(&new, &name)?;
        self.disk.sync_dir()?;
        let _ = self.disk.remove(&idx_name(number));
        self.report(format!(
            "{name}: {what}. What can still be read of it ({} of {end} bytes) was kept; the damaged file is now {name}.corrupt. Messages may have been lost",
            whole - DATA
        ));
        Ok((to, at))
    }
}

/// Records of a kind that says nothing, `len` bytes of them. Damage takes a whole frame at least, so that there
/// is room for the three bytes of one.
fn filler(len: usize) -> Vec<u8> {
    const NOTHING: u8 = 0;
    let mut records = Vec::with_capacity(len);
    let one = |room: usize| {
        let fits = |&payload: &usize| 1 + varint_len(payload as u64) + payload == room;
        (room.saturating_sub(11)..room.saturating_sub(1)).find(fits)
    };
    // There is no record of some lengths, 130 bytes the first; but of three less.
    if one(len).is_none() {
        records.extend_from_slice(&[NOTHING, 1, 0]);
    }
    if let Some(payload) = one(len - records.len()) {
        records.push(NOTHING);
        put_varint(&mut records, payload as u64);
        records.resize(len, 0);
    }
    records
}
