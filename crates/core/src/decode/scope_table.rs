//! The table of the distinct scopes of an object. Events refer to their scope by its index.

use crate::event::EventScope;
use std::collections::HashMap;

/// Number of scopes that are found without a hash lookup.
const RECENT: usize = 8;

/// The distinct scopes of an object, in the order of their first event.
#[derive(Debug, Default)]
pub(super) struct ScopeTable {
    pub(super) list: Vec<EventScope>,
    index: HashMap<EventScope, u32>,
    /// The most recently used scopes. The events of one file cluster in a few minutes of one account and region.
    recent: [u32; RECENT],
    /// The index of the oldest entry of `recent`.
    oldest: usize,
}

impl ScopeTable {
    /// Returns the index of the scope, which is added if it is new.
    pub(super) fn intern(&mut self, account: &[u8], region: &[u8], minute: Option<i64>) -> u32 {
        let same = |scope: &EventScope| {
            scope.minute == minute && scope.account.as_bytes() == account && scope.region.as_bytes() == region
        };
        let known = |&&at: &&u32| self.list.get(at as usize).is_some_and(same);
        if let Some(&at) = self.recent.iter().find(known) {
            return at;
        }
        let text = |bytes| EventScope::text(bytes).into_owned();
        let scope = EventScope { account: text(account), region: text(region), minute };
        let next = self.list.len() as u32;
        let at = *self.index.entry(scope.clone()).or_insert(next);
        if at == next {
            self.list.push(scope);
        }
        self.recent[self.oldest] = at;
        self.oldest = (self.oldest + 1) % RECENT;
        at
    }
}
