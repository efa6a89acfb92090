//! The lines that wait for the next checkpoint, by partition, in reusable blocks of memory.
//!
//! The lines are stored in blocks because a growing vector allocates up to twice its content and fragments the heap
//! with allocations of many sizes.

use std::collections::BTreeMap;

/// The size of a block in bytes. A longer line gets a block of its own.
const BLOCK_BYTES: usize = 256 * 1024;

/// Blocks of lines by partition. A line is never split between blocks.
pub(super) type PartitionLines = BTreeMap<String, Vec<Vec<u8>>>;

#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) lines: PartitionLines,
    pub(super) bytes: usize,
    /// Empty blocks for reuse. Allocating memory again for each checkpoint causes as many page faults as writing the
    /// files.
    spare: Vec<Vec<u8>>,
}

impl Buffer {
    /// Adds a line. Frees spare blocks while the lines and the spare blocks together exceed `max_bytes`.
    pub(super) fn add(&mut self, partition: &str, line: &[u8], max_bytes: usize) {
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
        while self.bytes + self.spare_bytes() > max_bytes && self.spare.pop().is_some() {}
    }

    /// Keeps the blocks of written lines for reuse.
    pub(super) fn recycle(&mut self, written: PartitionLines) {
        for mut block in written.into_values().flatten() {
            if block.capacity() == BLOCK_BYTES {
                block.clear();
                self.spare.push(block);
            }
        }
    }

    /// Returns the size of the spare blocks in bytes.
    fn spare_bytes(&self) -> usize {
        self.spare.len() * BLOCK_BYTES
    }
}

/// Appends to a partition's last block. The first block starts small and grows, because thousands of partitions may have
/// a few lines each.
fn grow(block: &mut Vec<u8>, line: &[u8]) {
    let new_len = block.len() + line.len();
    if new_len > block.capacity() {
        let capacity = (2 * block.capacity()).clamp(new_len, BLOCK_BYTES);
        block.reserve_exact(capacity - block.len());
    }
    block.extend_from_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length_are_complete_and_in_order() {
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

    /// Several partitions become large one after another, next to a small one.
    #[test]
    fn memory_barely_exceeds_the_buffered_bytes() {
        const BYTES: usize = 16 << 20;
        let mut buffer = Buffer::default();
        for large in 0..10 {
            while buffer.bytes < BYTES {
                buffer.add(&large.to_string(), &[b'x'; 1_400], BYTES);
                buffer.add("small", b"x", BYTES);
                let allocated: usize = buffer.lines.values().flatten().map(Vec::capacity).sum();
                let all = allocated + buffer.spare_bytes();
                assert!(all <= BYTES + BYTES / 50, "{all} bytes allocated, {} buffered", buffer.bytes);
                assert!(
                    allocated <= buffer.bytes + buffer.bytes / 50 + 2 * BLOCK_BYTES,
                    "{allocated} bytes allocated for {} bytes",
                    buffer.bytes
                );
            }
            let Buffer { lines, .. } = std::mem::take(&mut buffer);
            buffer.recycle(lines);
        }
    }

    #[test]
    fn blocks_are_reused() {
        let mut buffer = Buffer::default();
        let fill = |buffer: &mut Buffer| {
            (0..8).for_each(|_| buffer.add("p", &[b'x'; BLOCK_BYTES / 2], 16 << 20));
            let Buffer { lines, .. } = std::mem::take(buffer);
            let addresses: Vec<_> = lines["p"].iter().skip(1).map(Vec::as_ptr).collect();
            buffer.recycle(lines);
            addresses
        };
        let first = fill(&mut buffer);
        let second = fill(&mut buffer);
        assert!(second.iter().all(|address| first.contains(address)), "{first:?} {second:?}");
    }
}
