//! What waits for the next checkpoint: lines by partition, in blocks whose memory is used again.
//!
//! In blocks, because a buffer that doubles as it grows holds up to twice what is in it, and leaves holes of every size
//! where it lay before.

use std::collections::BTreeMap;

/// Bytes of a block. A longer line is a block by itself.
const BLOCK_BYTES: usize = 256 * 1024;

/// Lines by partition, each whole in one block.
pub(super) type Lines = BTreeMap<String, Vec<Vec<u8>>>;

#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) lines: Lines,
    pub(super) bytes: usize,
    /// Emptied blocks. Memory that is asked for anew for each checkpoint costs as many page faults as writing the files.
    spare: Vec<Vec<u8>>,
}

impl Buffer {
    /// Adds a line, and lets go of memory that lies ready where it and what waits become more than `bytes`.
    pub(super) fn add(&mut self, partition: &str, line: &[u8], bytes: usize) {
        self.bytes += line.len();
        match self.lines.get_mut(partition) {
            None => {
                self.lines.insert(partition.to_owned(), vec![line.to_vec()]);
            }
            Some(blocks) => match blocks.last_mut() {
                Some(last) if last.len() + line.len() <= BLOCK_BYTES => grow(last, line),
                _ => {
                    let mut block = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES));
                    block.extend_from_slice(line);
                    blocks.push(block);
                }
            },
        }
        while self.bytes + self.spare_bytes() > bytes && self.spare.pop().is_some() {}
    }

    /// Takes back the memory of lines that are written.
    pub(super) fn recycle(&mut self, written: Lines) {
        for mut block in written.into_values().flatten() {
            if block.capacity() == BLOCK_BYTES {
                block.clear();
                self.spare.push(block);
            }
        }
    }

    /// Bytes that lie ready.
    fn spare_bytes(&self) -> usize {
        self.spare.len() * BLOCK_BYTES
    }
}

/// A partition's first block is as large as what is in it asks for: there may be thousands with a few lines each.
fn grow(block: &mut Vec<u8>, line: &[u8]) {
    let filled = block.len() + line.len();
    if filled > block.capacity() {
        let wanted = (2 * block.capacity()).clamp(filled, BLOCK_BYTES);
        block.reserve_exact(wanted - block.len());
    }
    block.extend_from_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_and_in_order_whatever_their_lengths() {
        let mut buffer = Buffer::default();
        let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut random = fastrand::Rng::with_seed(7);
        for checkpoint in 0..4 {
            for number in 0..2_000 {
                let length = if random.u8(..) == 0 { random.usize(..2 * BLOCK_BYTES) } else { random.usize(..3_000) };
                let line = vec![random.u8(b'a'..=b'z'); length];
                let partition = (number % 3 * (checkpoint + number % 2)).to_string();
                expected.entry(partition.clone()).or_default().extend(&line);
                buffer.add(&partition, &line, 1 << 20);
            }
            let Buffer { lines, bytes, .. } = std::mem::take(&mut buffer);
            assert_eq!(bytes, expected.values().map(Vec::len).sum::<usize>());
            for (partition, blocks) in &lines {
                assert!(expected.remove(partition).unwrap() == blocks.concat(), "partition {partition}");
            }
            assert!(expected.is_empty());
            buffer.recycle(lines);
        }
    }

    /// Partitions that are large one after the other, a small one beside them.
    #[test]
    fn memory_is_little_more_than_what_waits() {
        const BYTES: usize = 16 << 20;
        let mut buffer = Buffer::default();
        for large in 0..10 {
            while buffer.bytes < BYTES {
                buffer.add(&large.to_string(), &[b'x'; 1_400], BYTES);
                buffer.add("small", b"x", BYTES);
                let taken: usize = buffer.lines.values().flatten().map(Vec::capacity).sum();
                let all = taken + buffer.spare_bytes();
                assert!(all <= BYTES + BYTES / 50, "{all} bytes taken, {} wait", buffer.bytes);
                assert!(
                    taken <= buffer.bytes + buffer.bytes / 50 + 2 * BLOCK_BYTES,
                    "{taken} bytes for {}",
                    buffer.bytes
                );
            }
            let Buffer { lines, .. } = std::mem::take(&mut buffer);
            buffer.recycle(lines);
        }
    }

    #[test]
    fn blocks_are_used_again() {
        let mut buffer = Buffer::default();
        let fill = |buffer: &mut Buffer| {
            (0..8).for_each(|_| buffer.add("p", &[b'x'; BLOCK_BYTES / 2], 16 << 20));
            let Buffer { lines, .. } = std::mem::take(buffer);
            let places: Vec<_> = lines["p"].iter().skip(1).map(Vec::as_ptr).collect();
            buffer.recycle(lines);
            places
        };
        let first = fill(&mut buffer);
        let second = fill(&mut buffer);
        assert!(second.iter().all(|place| first.contains(place)), "{first:?} {second:?}");
    }
}
