//! Tests of what a crash of the machine leaves: only bytes and folder entries that were synced.

use super::*;
use crate::disk::Disk;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// A disk that records what would be durable. It does not really sync, because the test does not crash the machine.
#[derive(Debug, Default)]
struct CrashDisk(Mutex<Durable>);

#[derive(Debug, Default)]
struct Durable {
    /// The durable content of each file, by inode number.
    files: HashMap<u64, Vec<u8>>,
    /// The durable entries of each folder.
    folders: HashMap<PathBuf, BTreeMap<OsString, FolderEntry>>,
}

#[derive(Debug, Clone, Copy)]
enum FolderEntry {
    File(u64),
    Folder,
}

impl Disk for CrashDisk {
    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        let content = std::fs::read(path)?;
        self.0.lock().unwrap().files.insert(file.metadata()?.ino(), content);
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let entries = std::fs::read_dir(path)?.map(|entry| {
            let entry = entry?;
            let found = entry.metadata()?;
            let kind = if found.is_dir() { FolderEntry::Folder } else { FolderEntry::File(found.ino()) };
            Ok((entry.file_name(), kind))
        });
        let entries = entries.collect::<io::Result<_>>()?;
        self.0.lock().unwrap().folders.insert(path.canonicalize()?, entries);
        Ok(())
    }
}

impl CrashDisk {
    /// Copies what is durable in the folder `from` to the folder `to`. The entry of `from` itself counts as durable.
    fn after_crash(&self, from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        let durable = self.0.lock().unwrap();
        let mut folders = vec![(from.canonicalize().unwrap(), to.to_owned())];
        while let Some((from, to)) = folders.pop() {
            for (name, entry) in durable.folders.get(&from).into_iter().flatten() {
                match entry {
                    FolderEntry::Folder => {
                        std::fs::create_dir(to.join(name)).unwrap();
                        folders.push((from.join(name), to.join(name)));
                    }
                    FolderEntry::File(inode) => {
                        std::fs::write(to.join(name), durable.files.get(inode).map_or(&[][..], Vec::as_slice)).unwrap()
                    }
                }
            }
        }
    }
}

/// The ledger is outside of the destination, so a lost destination does not take the ledger with it. SQLite syncs its
/// own files; they are copied as they are.
#[tokio::test]
async fn machine_crash_at_any_point_loses_no_recorded_event() {
    for (seed, compression) in ALL.into_iter().enumerate() {
        let options = Options { file_bytes: 300, ..options(compression) };
        let home = tempfile::tempdir().unwrap();
        let live = home.path().join("live");
        std::fs::create_dir(&live).unwrap();
        let ledger_of = |home: &Path| home.join("ledger/ledger.db");
        let ledger = Sqlite::open(&ledger_of(&live), CommitMode::Grouped).unwrap();
        let disk = Arc::<CrashDisk>::default();
        let destination = |home: &Path| home.join("new/folder/out");
        let journal = Arc::clone(ledger.journal());
        let sink = Jsonl::open(&destination(&live), options.clone(), journal, disk.clone()).await.unwrap();
        let crashes = Arc::new(Mutex::new(Vec::new()));
        {
            let (crashes, live, home) = (Arc::clone(&crashes), live.clone(), home.path().to_owned());
            sink.state.destination.probe.set(move |moment| {
                let mut crashes = crashes.lock().unwrap();
                let to = home.join(format!("crash-{}-{moment}", crashes.len()));
                disk.after_crash(&live, &to);
                copy(&live.join("ledger"), &to.join("ledger"));
                crashes.push((moment, to));
            });
        }
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let mut objects = BTreeMap::new();
        for number in 0..20 {
            let texts = [0, 1, 2].map(|line| format!("{number}-{line}-{}", "x".repeat(random.usize(0..90))));
            let call_lines: Vec<_> =
                texts.iter().map(|text| (["1", "2", "3"][random.usize(0..3)], &text[..])).collect();
            ingest(&ledger, &sink, number, &call_lines).await;
            objects.insert(number, texts.to_vec());
            if random.u32(0..3) == 0 {
                sink.flush().await.unwrap();
            }
        }
        sink.flush().await.unwrap();
        drop((ledger, sink));
        let crashes = std::mem::take(&mut *crashes.lock().unwrap());
        let committed = crashes.iter().filter(|(moment, _)| *moment == "committed").count();
        assert!(committed > 3, "{committed} checkpoints");
        let mut done = 0;
        for (moment, crashed) in &crashes {
            let ledger = Sqlite::open(&ledger_of(crashed), CommitMode::Grouped).unwrap();
            let now = exactly_once_in(ledger, &destination(crashed), options.clone(), &objects).await;
            assert!(now >= done && (*moment != "committed" || now > done), "{moment}: {now} objects, {done} before");
            done = now;
        }
        assert_eq!(done, objects.len());
    }
}
