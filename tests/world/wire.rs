//! The wire between a worker and what it talks to. Counts calls, and fails the ones it is told to.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use trailhose::ledger::model::row::Change;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails before it takes effect.
    Refuse,
    /// It takes effect, and the reply is lost.
    LoseReply,
    /// It takes effect, and the worker dies: no later call of this wire goes through.
    Die,
    /// It takes effect, this much later.
    Late(Duration),
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
    /// The faults that happened, and to which calls.
    hit: Vec<(&'static str, Fault)>,
    dead: bool,
    gate: Option<Arc<Gate>>,
}

/// Lets one call through for every grant, so that a scheduler decides whose turn it is.
#[derive(Debug, Default)]
pub struct Gate {
    grants: AtomicUsize,
}

impl Gate {
    /// Lets one more call through.
    pub fn grant(&self) {
        self.grants.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes back what was granted and not used.
    pub fn revoke(&self) {
        self.grants.store(0, Ordering::SeqCst);
    }

    /// Whether a granted call is still to be made.
    pub fn is_granted(&self) -> bool {
        self.grants.load(Ordering::SeqCst) > 0
    }
}

/// Waits at a gate.
struct AtGate<'a>(&'a Gate);

impl Future for AtGate<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.grants.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |grants| grants.checked_sub(1)).is_ok() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
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

    /// A wire behind a gate.
    pub fn behind(gate: &Arc<Gate>, plan: impl IntoIterator<Item = (usize, Fault)>) -> Self {
        let wire = Self::failing(plan);
        wire.state.lock().unwrap().gate = Some(Arc::clone(gate));
        wire
    }

    /// The faults that happened, and to which calls.
    pub fn hit(&self) -> Vec<(&'static str, Fault)> {
        self.state.lock().unwrap().hit.clone()
    }

    /// A new worker where one died; calls are numbered on. Whether one had died.
    pub fn revive(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap().dead)
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
        let gate = self.state.lock().unwrap().gate.clone();
        if let Some(gate) = gate {
            AtGate(&gate).await;
        }
        let fault = {
            let mut state = self.state.lock().unwrap();
            if state.dead {
                return Err(lost());
            }
            let number = state.calls.len();
            state.calls.push(name);
            let fault = state.plan.get(&number).copied();
            state.hit.extend(fault.map(|fault| (name, fault)));
            fault
        };
        match fault {
            None => effect.await,
            Some(Fault::Refuse) => Err(lost()),
            Some(Fault::Late(time)) => {
                tokio::time::sleep(time).await;
                effect.await
            }
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
        Change::Forget => "forget",
        Change::Settle => "settle",
        Change::Complete { .. } => "complete",
        Change::Quarantine { .. } => "quarantine",
    }
}
