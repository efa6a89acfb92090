//! The wire between a worker and what it talks to. Counts calls, and fails the ones it is told to.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use trailhose::ledger::row::Change;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails before it takes effect.
    Refuse,
    /// It takes effect, and the reply is lost.
    LoseReply,
    /// It takes effect, and the worker dies: no later call of this wire goes through.
    Die,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wire {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The calls made, by name.
    calls: Vec<&'static str>,
    plan: HashMap<usize, Fault>,
    dead: bool,
}

impl Wire {
    /// A wire on which the calls of these numbers fail.
    pub fn failing(plan: impl IntoIterator<Item = (usize, Fault)>) -> Self {
        Self { state: Mutex::new(State { plan: plan.into_iter().collect(), ..State::default() }) }
    }

    /// The names of the calls made.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Whether the worker died.
    pub fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    pub(super) async fn call<T, E>(
        &self,
        name: &'static str,
        lost: impl FnOnce() -> E,
        effect: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            if state.dead {
                return Err(lost());
            }
            let number = state.calls.len();
            state.calls.push(name);
            state.plan.get(&number).copied()
        };
        match fault {
            None => effect.await,
            Some(Fault::Refuse) => Err(lost()),
            Some(Fault::LoseReply) => {
                let _ = effect.await;
                Err(lost())
            }
            Some(Fault::Die) => {
                let _ = effect.await;
                self.state.lock().unwrap().dead = true;
                Err(lost())
            }
        }
    }
}

/// A row's change as the name of the call that makes it.
pub(super) fn name_of(change: &Change) -> &'static str {
    match change {
        Change::Lease { .. } => "lease",
        Change::Release => "release",
        Change::Advance(_) => "advance",
        Change::Reopen => "reopen",
        Change::Settle => "settle",
        Change::Complete { .. } => "complete",
        Change::Quarantine { .. } => "quarantine",
    }
}
