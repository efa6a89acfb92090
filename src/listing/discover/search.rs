//! Search: where the layout begins.

use super::{Cover, Discovery, Look, Shape, Step};
use crate::listing::folder_level::Place;
use crate::listing::unit::Layout;
use crate::source::{ListPage, SourceError};
use std::collections::VecDeque;

/// How many folders deep `AWSLogs/` is looked for: two trails with prefixes of their own in one bucket, each of them with
/// a slash in it.
const DEPTH: usize = 2;

/// Folders that are looked into. A bucket with more of them above `AWSLogs/` is used for something else too, and its
/// trail's prefix must be named.
const FOLDERS: usize = 200;

/// A folder in which something may lie that the walk will not meet.
enum Aside {
    /// Nothing in it was looked at.
    Whole(String),
    /// Its folders were, what lies directly in it was not.
    Objects(String),
}

impl Discovery {
    /// Finds the folders from which to walk, or that there is no layout.
    pub(super) async fn begin(&mut self) -> Result<(), SourceError> {
        let spelled = self.ask.prefix.as_str();
        let prefix =
            if spelled.is_empty() || spelled.ends_with('/') { spelled.to_owned() } else { format!("{spelled}/") };
        if let Some(place) = Place::of(&prefix) {
            // Named below `AWSLogs/` already. With a trail whose own prefix ends in `AWSLogs`, the walk meets another
            // `AWSLogs/` in it and enters that too.
            return self.begin_inside(prefix, place).await;
        }
        let mut aside = Vec::new();
        let mut folders = VecDeque::from([(prefix.clone(), 0)]);
        let mut anything = false;
        let mut looked = 0;
        while let Some((folder, depth)) = folders.pop_front() {
            let logs = format!("{folder}AWSLogs/");
            let page = self.page(&logs).await?;
            let found = page.next.is_some() || !page.prefixes.is_empty();
            if found {
                self.progress.shape = Shape::CloudTrail;
                // The page is not wasted: the walk goes on from it.
                self.take(&Step { folder: logs.clone(), token: None, look: Look::Layout }, page);
                if self.ask.cover == Cover::Everything {
                    self.folders.push(Step { folder, token: None, look: Look::Beside });
                }
                continue;
            }
            let page = self.page(&folder).await?;
            anything |= !page.objects.is_empty() || !page.prefixes.is_empty();
            let deeper = page.next.is_none() && looked + page.prefixes.len() <= FOLDERS && depth < DEPTH;
            if !deeper {
                aside.push(Aside::Whole(folder));
                continue;
            }
            if !page.objects.is_empty() {
                aside.push(Aside::Objects(folder));
            }
            looked += page.prefixes.len();
            folders.extend(page.prefixes.into_iter().map(|folder| (folder, depth + 1)));
        }
        match self.progress.shape {
            Shape::CloudTrail => aside.into_iter().for_each(|folder| self.set_aside(folder)),
            _ if anything => {
                self.progress.shape = Shape::Flat;
                self.give(prefix, Layout::Flat);
            }
            _ => {
                self.progress.shape = Shape::Empty;
                // No folder of that name, but perhaps the beginning of names. To a backfill that would be a misspelling.
                if self.ask.cover != Cover::Days && prefix != self.ask.prefix {
                    self.give(self.ask.prefix.clone(), Layout::Flat);
                }
            }
        }
        Ok(())
    }

    fn set_aside(&mut self, folder: Aside) {
        match folder {
            Aside::Objects(folder) if self.ask.cover == Cover::Everything => {
                self.folders.push(Step { folder, token: None, look: Look::Objects });
            }
            Aside::Objects(folder) | Aside::Whole(folder) => self.pass_over(folder),
        }
    }

    async fn begin_inside(&mut self, prefix: String, place: Place) -> Result<(), SourceError> {
        let page = self.page(&prefix).await?;
        if page.next.is_none() && page.prefixes.is_empty() && page.objects.is_empty() {
            self.progress.shape = Shape::Empty;
            return Ok(());
        }
        self.progress.shape = Shape::CloudTrail;
        match place {
            Place::Region => self.enter(prefix, place),
            _ if self.admits(&prefix) => self.take(&Step { folder: prefix, token: None, look: Look::Layout }, page),
            _ => self.progress.not_asked += 1,
        }
        Ok(())
    }

    async fn page(&mut self, folder: &str) -> Result<ListPage, SourceError> {
        let step = Step { folder: folder.to_owned(), token: None, look: Look::Layout };
        let (_, page) = super::list(self.source.clone(), self.ask.bucket.clone(), step).await;
        self.progress.requests += 1;
        page
    }
}
