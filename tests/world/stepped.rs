//! A worker that makes one call at a time, so that a test can act between two calls.

use super::{Gate, Outcome, Wire, World};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use trailhose::object::ObjectRef;

/// One attempt at an object, in progress.
pub struct Stepped<'a> {
    gate: Arc<Gate>,
    wire: Arc<Wire>,
    run: Pin<Box<dyn Future<Output = Outcome> + 'a>>,
}

impl<'a> Stepped<'a> {
    /// Starts an attempt without its first call.
    pub fn start(world: &'a World, at: &ObjectRef) -> Self {
        let gate = Arc::<Gate>::default();
        let wire = Arc::new(Wire::behind(&gate, []));
        let (at, over) = (at.clone(), Arc::clone(&wire));
        Self { gate, wire, run: Box::pin(async move { world.ingest_over(&over, &at).await }) }
    }

    /// Runs the next call and the code up to the one after.
    pub fn step(&mut self) -> Poll<Outcome> {
        self.gate.grant();
        self.run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Runs the calls up to this number, from 0. Returns whether the attempt ended.
    pub fn ends_by(&mut self, call: usize) -> bool {
        (0..=call).any(|_| self.step().is_ready())
    }

    /// Runs the attempt to its end.
    pub fn finish(&mut self) -> Outcome {
        loop {
            if let Poll::Ready(outcome) = self.step() {
                return outcome;
            }
        }
    }

    /// Returns the names of the calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.wire.calls()
    }
}
