//! The connection between a worker and its dependencies. Counts calls and injects faults.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use trailhose::ledger::model::row::Change;

/// A fault of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails without effect.
    Refuse,
    /// The call takes effect, but its reply is lost.
    LoseReply,
    /// The call takes effect, then the worker crashes: all later calls on this wire fail.
    Die,
    /// The call takes effect after this delay.
    Late(Duration),
}

/// A connection that injects faults.
#[derive(Debug, Default)]
pub struct Wire {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Names of the calls so far.
    calls: Vec<&'static str>,
    plan: HashMap<usize, Fault>,
    /// The injected faults and the names of their calls.
    hit: Vec<(&'static str, Fault)>,
    dead: bool,
    /// The name of the calls that all fail without effect.
    outage: Option<&'static str>,
    gate: Option<Arc<Gate>>,
}

/// Passes one call per grant, so that a scheduler determines the order of calls.
#[derive(Debug, Default)]
pub struct Gate {
    grants: AtomicUsize,
}

impl Gate {
    /// Grants one more call.
    pub fn grant(&self) {
        self.grants.fetch_add(1, Ordering::SeqCst);
    }

    /// Revokes unused grants.
    pub fn revoke(&self) {
        self.grants.store(0, Ordering::SeqCst);
    }

    /// Whether a grant is unused.
    pub fn is_granted(&self) -> bool {
        self.grants.load(Ordering::SeqCst) > 0
    }
}

/// Waits for a grant.
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
    /// Creates a wire with faults at these call numbers.
    pub fn failing(plan: impl IntoIterator<Item = (usize, Fault)>) -> Self {
        Self { state: Mutex::new(State { plan: plan.into_iter().collect(), ..State::default() }) }
    }

    /// Creates a wire on which every call of this name fails without effect.
    pub fn failing_always(name: &'static str) -> Self {
        Self { state: Mutex::new(State { outage: Some(name), ..State::default() }) }
    }

    /// Lets the calls of [`Wire::failing_always`] succeed.
    pub fn end_outage(&self) {
        self.state.lock().unwrap().outage = None;
    }

    /// Returns the names of the calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Creates a wire whose calls wait at a gate.
    pub fn behind(gate: &Arc<Gate>, plan: impl IntoIterator<Item = (usize, Fault)>) -> Self {
        let wire = Self::failing(plan);
        wire.state.lock().unwrap().gate = Some(Arc::clone(gate));
        wire
    }

    /// The injected faults and the names of their calls.
    pub fn hit(&self) -> Vec<(&'static str, Fault)> {
        self.state.lock().unwrap().hit.clone()
    }

    /// Replaces a crashed worker; call numbers continue. Returns whether it had crashed.
    pub fn revive(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap().dead)
    }

    /// Whether the worker crashed.
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
            let outage = (state.outage == Some(name)).then_some(Fault::Refuse);
            let fault = outage.or_else(|| state.plan.get(&number).copied());
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

/// Returns the call name of a row change.
pub(super) fn name_of(change: &Change) -> &'static str {
    match change {
        Change::Lease { .. } => "lease",
        Change::Release => "release",
        Change::Advance(_) => "advance",
        Change::Acknowledge { .. } => "acknowledge",
        Change::ResetCursor { .. } => "reset_cursor",
        Change::Reset => "reset",
        Change::Settle => "settle",
        Change::Complete { .. } => "complete",
        Change::Quarantine { .. } => "quarantine",
        Change::Accept { .. } => "accept",
        Change::WithdrawAcceptance => "withdraw_acceptance",
    }
}
