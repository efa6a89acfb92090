//! Translates guards and changes to DynamoDB's condition and update expressions: the same rules as
//! `row::Guard::admits` and `row::Change::apply`.

use super::item;
use crate::ledger::model::row::{CURSOR_END, Change, Guard, Status};
use crate::object::Object;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

/// Expressions of one UpdateItem request.
#[derive(Debug)]
pub(super) struct Expression {
    pub condition: String,
    pub update: String,
    pub names: HashMap<String, String>,
    pub values: HashMap<String, AttributeValue>,
    set: Vec<String>,
    remove: Vec<&'static str>,
}

impl Expression {
    /// Returns the expressions. Pass `object` if the row may have to be created; without it the row must exist.
    pub(super) fn new(guard: Guard, change: &Change, object: Option<&Object>) -> Self {
        let mut expression = Self {
            condition: String::new(),
            update: String::new(),
            names: HashMap::new(),
            values: HashMap::new(),
            set: Vec::new(),
            remove: Vec::new(),
        };
        expression.condition = expression.guard(guard);
        expression.change(change);
        match object {
            // UpdateItem would create an absent item with only the attributes that it sets.
            None => expression.condition = format!("attribute_exists(pk) AND ({})", expression.condition),
            Some(object) if matches!(guard, Guard::Leasable { .. }) => expression.create(object),
            Some(_) => {}
        }
        let mut clauses = Vec::new();
        if !expression.set.is_empty() {
            clauses.push(format!("SET {}", expression.set.join(", ")));
        }
        if !expression.remove.is_empty() {
            let names: Vec<_> = expression.remove.clone().into_iter().map(|name| expression.name(name)).collect();
            clauses.push(format!("REMOVE {}", names.join(", ")));
        }
        expression.update = clauses.join(" ");
        expression
    }

    fn guard(&mut self, guard: Guard) -> String {
        let (status, until, token) = (self.name("status"), self.name("until"), self.name("token"));
        let condition = match guard {
            Guard::Leasable { now, token: own_token } => {
                let available = self.available(now, own_token);
                let (open, settled) = (self.status(Status::Open), self.status(Status::Settled));
                format!("attribute_not_exists(pk) OR ({status} IN ({open}, {settled}) AND {available})")
            }
            Guard::Helpable { now, token: own_token } => {
                let available = self.available(now, own_token);
                let (open, quarantined) = (self.status(Status::Open), self.status(Status::Quarantined));
                format!("{status} IN ({open}, {quarantined}) AND {available}")
            }
            Guard::Held(own_token) => format!("{token} = {}", self.value(":mine", text(own_token))),
            Guard::HeldOpen(own_token) => {
                let (open, own_token) = (self.status(Status::Open), self.value(":mine", text(own_token)));
                format!("{token} = {own_token} AND {status} = {open}")
            }
            Guard::Unleased { now } => format!("{until} < {}", self.value(":now", number(now))),
            Guard::Quarantined { now } => {
                let (quarantined, now) = (self.status(Status::Quarantined), self.value(":now", number(now)));
                format!("{status} = {quarantined} AND {until} < {now}")
            }
        };
        // DynamoDB rejects a name that no expression uses.
        self.names.retain(|placeholder, _| condition.contains(placeholder.as_str()));
        condition
    }

    /// Returns the condition that the lease has ended or has this token.
    fn available(&mut self, now: i64, own_token: crate::ledger::model::row::Token) -> String {
        let (until, token) = (self.name("until"), self.name("token"));
        let (now, own_token) = (self.value(":now", number(now)), self.value(":mine", text(own_token)));
        format!("({until} < {now} OR {token} = {own_token})")
    }

    /// Sets the initial attributes of a new row: see `Change::apply`.
    fn create(&mut self, object: &Object) {
        self.set_if_absent("bucket", text(&object.bucket));
        self.set_if_absent("key", text(&object.key));
        self.set_if_absent("etag", text(&object.etag));
        self.set_if_absent("status", text(Status::Open.as_str()));
        self.set_if_absent("until", number(0));
        self.set_if_absent("cursor", number(0));
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Lease { token, until } => {
                self.set("token", text(token));
                self.set("until", number(until));
            }
            Change::Release => {
                self.set("until", number(0));
                self.remove.push("token");
            }
            Change::Advance(cursor) => {
                self.set("cursor", number(cursor));
                self.remove.push("acknowledged");
            }
            Change::Acknowledge { cursor, acknowledged } => {
                self.set("cursor", number(cursor));
                match acknowledged.is_empty() {
                    true => self.remove.push("acknowledged"),
                    false => self.set("acknowledged", AttributeValue::B(Blob::new(acknowledged.encode()))),
                }
            }
            Change::ResetCursor { token } => {
                self.start_again();
                self.set("token", text(token));
            }
            Change::Reset => {
                self.start_again();
                self.change(&Change::Release);
            }
            Change::Settle => {
                self.set("status", text(Status::Settled.as_str()));
                self.set("cursor", number(CURSOR_END));
                self.remove.extend(["acknowledged", "expires", "quarantined_at", "accepted"]);
            }
            Change::Complete { counts, expires } => {
                self.set("status", text(Status::Done.as_str()));
                self.set("cursor", number(CURSOR_END));
                self.set("until", number(0));
                self.set("expires", number(expires));
                self.set("seen", number(counts.seen));
                self.set("delivered", number(counts.delivered));
                self.set("duplicate", number(counts.duplicate));
                self.set("filtered", number(counts.filtered));
                self.set("oversize", number(counts.oversize));
                self.remove.extend(["acknowledged", "quarantined_at", "accepted"]);
            }
            Change::Quarantine { reason, at } => {
                self.remove.push("expires");
                self.set("status", text(Status::Quarantined.as_str()));
                self.set("until", number(0));
                self.set("reason", text(reason));
                self.set("quarantined_at", text(item::time_text(*at)));
            }
            Change::Accept { reason } => self.set("accepted", text(reason)),
            Change::WithdrawAcceptance => self.remove.push("accepted"),
        }
    }

    /// Removes all progress: see `Row::start_again`.
    fn start_again(&mut self) {
        self.set("status", text(Status::Open.as_str()));
        self.set("cursor", number(0));
        self.remove.extend(["acknowledged", "seen", "delivered", "duplicate", "filtered", "oversize"]);
        self.remove.extend(["reason", "expires", "quarantined_at", "accepted"]);
    }

    fn set(&mut self, name: &'static str, value: AttributeValue) {
        let (name, value) = (self.name(name), self.value(&format!(":set_{name}"), value));
        self.set.push(format!("{name} = {value}"));
    }

    /// Sets an attribute if the item does not have it. Skips an attribute that the change sets, because an expression
    /// may set a path only once.
    fn set_if_absent(&mut self, name: &'static str, value: AttributeValue) {
        if self.values.contains_key(&format!(":set_{name}")) {
            return;
        }
        let (name, value) = (self.name(name), self.value(&format!(":set_{name}"), value));
        self.set.push(format!("{name} = if_not_exists({name}, {value})"));
    }

    fn status(&mut self, status: Status) -> String {
        self.value(&format!(":is_{}", status.as_str()), text(status.as_str()))
    }

    /// Every attribute name needs a placeholder: `status`, `token`, `key`, `until` and others are reserved words.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html>
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, placeholder: &str, value: AttributeValue) -> String {
        self.values.insert(placeholder.to_owned(), value);
        placeholder.to_owned()
    }
}

fn number(number: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn text(text: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::S(text.to_string())
}
