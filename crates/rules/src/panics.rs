//! Catches the panics of single rules.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether this thread evaluates a rule.
    static EVALUATES: Cell<bool> = const { Cell::new(false) };
}

/// Returns the result of `evaluate`, or `None` if it panics.
///
/// The program must be built with `panic = "unwind"`, as all programs of this workspace are.
pub(crate) fn caught<T>(evaluate: impl FnOnce() -> T) -> Option<T> {
    EVALUATES.set(true);
    // Evaluation only reads the rule and the event, so a panic leaves nothing half changed.
    let result = catch_unwind(AssertUnwindSafe(evaluate));
    EVALUATES.set(false);
    result.ok()
}

/// Hides the messages of panics in rules, which could contain parts of the event. Other panics print their messages.
/// Programs call this once when they start.
pub fn hide_messages_of_rule_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !EVALUATES.get() {
                print(panic);
            }
        }));
    });
}
