//! Reads single events that are scattered over files, for example those that a lookup in the index found.

use super::check::FileFault;
use super::segment_reader::{EventPosition, read_event, read_events};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reads events of several files. Returns the bytes of each, in the order of `events`, or why it cannot be read. An event that
/// cannot be read does not affect the others.
///
/// Decompresses each member that contains one of the events once, and several members at the same time, because a member of
/// up to 1 MiB takes longer than everything else. Uses up to one thread for each processor. Takes memory for all events.
pub fn read_scattered_events(events: &[(PathBuf, EventPosition)]) -> Vec<Result<Vec<u8>, FileFault>> {
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_unstable_by_key(|&event| {
        let (path, position) = &events[event];
        (path, position.member, position.offset)
    });
    let members: Vec<&[usize]> = order
        .chunk_by(|&one, &other| events[one].0 == events[other].0 && events[one].1.member == events[other].1.member)
        .collect();
    let next = AtomicUsize::new(0);
    let read_members = || {
        let mut read = Vec::new();
        while let Some(member) = members.get(next.fetch_add(1, Ordering::Relaxed)) {
            read.extend(member.iter().copied().zip(read_member(events, member)));
        }
        read
    };
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    let mut read = std::thread::scope(|scope| {
        let others: Vec<_> = (1..processors.min(members.len())).map(|_| scope.spawn(read_members)).collect();
        let mut read = read_members();
        for other in others {
            read.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        read
    });
    read.sort_unstable_by_key(|(event, _)| *event);
    read.into_iter().map(|(_, event)| event).collect()
}

/// Reads events of one member, in the order of their offsets.
fn read_member(events: &[(PathBuf, EventPosition)], member: &[usize]) -> Vec<Result<Vec<u8>, FileFault>> {
    let path = &events[member[0]].0;
    let positions: Vec<_> = member.iter().map(|&event| events[event].1).collect();
    let mut read = Vec::with_capacity(positions.len());
    let is_distinct = positions.windows(2).all(|pair| pair[0] != pair[1]);
    if is_distinct && read_events(path, &positions, |event| read.push(Ok(event.to_vec()))).is_ok() {
        return read;
    }
    // One of them cannot be read, or is requested twice.
    positions.into_iter().map(|position| read_event(path, position)).collect()
}
