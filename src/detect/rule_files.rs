//! Reads rule files from a folder.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use trailhose_rules::{InvalidRule, LoadedRules, MAX_FILE_BYTES, RuleSet};

/// Maximum number of rule files of a folder.
const MAX_FILES: usize = 20_000;

/// Maximum nesting depth of folders.
const MAX_FOLDER_DEPTH: usize = 16;

/// The rule files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RuleFilesError {
    /// The folder or a file in it cannot be read.
    #[error("rules: {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
    /// The folder contains no rule file.
    #[error("rules: {} contains no file with the extension yml or yaml", .0.display())]
    Empty(PathBuf),
    /// The folder contains too many files or levels of folders.
    #[error("rules: {} has more than {MAX_FILES} rule files or {MAX_FOLDER_DEPTH} levels of folders", .0.display())]
    TooMany(PathBuf),
}

/// Reads the files with the extension `yml` or `yaml` of a folder and its subfolders, in the order of their paths, or one file.
/// Other files, and files and folders whose names start with a dot, are not rules. Folders behind symbolic links are not
/// read and count as invalid.
///
/// # Errors
/// A file or folder cannot be read, or there is no rule file. An invalid rule is not an error: the result names it.
pub fn read_rules(path: &Path) -> Result<LoadedRules, RuleFilesError> {
    let (contents, links) = read_files(path)?;
    let contents = contents.into_iter().map(|(file, bytes)| (file.display().to_string(), bytes));
    let mut loaded = RuleSet::load(contents);
    loaded.invalid.extend(links.into_iter().map(|link| {
        let reason = "a symbolic link to a folder is not read: use the folder itself".to_owned();
        InvalidRule { file: link.display().to_string(), line: 1, reason }
    }));
    Ok(loaded)
}

/// Reads the rule files of a folder without parsing them. Returns the path in the folder and the bytes of each file.
///
/// # Errors
/// The same as those of [`read_rules`].
pub fn read_rule_files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, RuleFilesError> {
    let (contents, _) = read_files(folder)?;
    let relative = |file: &Path| file.strip_prefix(folder).unwrap_or(file).display().to_string();
    Ok(contents.into_iter().map(|(file, bytes)| (relative(&file), bytes)).collect())
}

/// The path and the bytes of each file, and the symbolic links to folders, which are not read.
type RuleFiles = (Vec<(PathBuf, Vec<u8>)>, Vec<PathBuf>);

fn read_files(path: &Path) -> Result<RuleFiles, RuleFilesError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| RuleFilesError::Unreadable { path, error }
    };
    let (mut files, mut links) = (Vec::new(), Vec::new());
    match path.metadata().map_err(unreadable(path))?.is_dir() {
        true => find(path, 0, &mut files, &mut links)?,
        false => files.push(path.to_owned()),
    }
    if files.is_empty() && links.is_empty() {
        return Err(RuleFilesError::Empty(path.to_owned()));
    }
    files.sort();
    let mut contents = Vec::new();
    for file in files {
        // One byte more than the limit, so that a longer file is recognized.
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|open| open.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
        read.map_err(unreadable(&file))?;
        contents.push((file, bytes));
    }
    Ok((contents, links))
}

fn find(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, links: &mut Vec<PathBuf>) -> Result<(), RuleFilesError> {
    let unreadable = |error| RuleFilesError::Unreadable { path: folder.to_owned(), error };
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            if depth == MAX_FOLDER_DEPTH {
                return Err(RuleFilesError::TooMany(folder.to_owned()));
            }
            find(&path, depth + 1, files, links)?;
        } else if kind.is_symlink() && path.is_dir() {
            links.push(path);
        } else if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(RuleFilesError::TooMany(folder.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str) -> String {
        format!(
            "title: T\nid: {id}\nlogsource:\n    product: aws\n    service: cloudtrail\ndetection:\n    selection:\n        \
             eventName: A\n    condition: selection\n"
        )
    }

    #[test]
    fn rule_files_of_all_folders_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("b.yml", &rule("b"));
        write("a/x.yaml", &rule("a"));
        write("a/notes.txt", "no rule");
        write(".git/c.yml", "no rule");
        write("z.yml", &"x".repeat(MAX_FILE_BYTES + 100));
        let loaded = read_rules(folder.path()).unwrap();
        assert_eq!(loaded.rules.rules().map(|rule| &*rule.id).collect::<Vec<_>>(), ["a", "b"]);
        let [invalid] = &loaded.invalid[..] else { panic!("{:?}", loaded.invalid) };
        assert!(invalid.file.ends_with("z.yml") && invalid.reason.contains("the maximum is"), "{invalid}");
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_are_read_and_links_to_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("r"), rule("a")).unwrap();
        std::os::unix::fs::symlink(other.path().join("r"), folder.path().join("a.yml")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("cycle")).unwrap();
        let loaded = read_rules(folder.path()).unwrap();
        assert_eq!(loaded.rules.rules().len(), 1);
        assert!(loaded.invalid[0].reason.contains("symbolic link"), "{:?}", loaded.invalid);
    }

    #[test]
    fn folder_without_rules_and_missing_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_rules(folder.path()).unwrap_err().to_string().contains("contains no file"));
        let missing = read_rules(&folder.path().join("nosuch")).unwrap_err().to_string();
        assert!(missing.contains("nosuch cannot be read"), "{missing}");
    }
}
