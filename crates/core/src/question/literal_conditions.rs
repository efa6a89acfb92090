//! Conditions of literals: what an access key, an account, an address or a region in a question restricts.

use super::literal::Literal;
use super::reader::Reader;
use super::stop_words;
use super::verb::Verb;
use super::words::Role;
use crate::plan::{Column, Predicate, ValueTest};

/// Verbs whose object is the access key itself.
const KEY_VERBS: &[&str] =
    &["create", "delete", "remove", "deactivate", "disable", "activate", "enable", "rotate", "change"];

/// Verbs with the account that receives something after `to`.
const GIVING_VERBS: &[&str] = &["move", "copy", "share", "export", "send", "invite"];

impl Reader {
    /// Consumes access keys, accounts, addresses, regions and event IDs with the labels before them.
    pub(super) fn read_literals(&mut self) {
        for at in 0..self.words.len() {
            let Some(literal) = self.literal(at).cloned() else { continue };
            match literal {
                Literal::AccessKey(key) => self.read_access_key(at, key),
                Literal::Account(account) => self.read_account(at, account),
                Literal::Address(network) => {
                    let address = Column::SourceIpAddress;
                    let is_one = network.prefix_length() == if network.first().is_ipv4() { 32 } else { 128 };
                    let text = self.words.text(at).to_owned();
                    let predicate = match is_one {
                        true => Predicate::equals(address, text),
                        false => Predicate::Field(address.into(), ValueTest::Cidr(vec![network])),
                    };
                    let start = self.label(
                        at,
                        &["source? ip|ips address|addresses?", "address|addresses", "network|networks|range|subnet"],
                    );
                    // `opened it to 0.0.0.0/0`: the address is not the source.
                    let before = self.word_before(start);
                    let is_object = !stop_words::is_stop_word(before) && Verb::from_word(before).is_some();
                    if before == "to" || (is_object && before != "accessed") {
                        continue;
                    }
                    self.words.consume(start..at + 1, Role::Address);
                    let end = self.words.phrase(at + 1, "network|range").map_or(at + 1, |length| at + 1 + length);
                    self.words.consume(at..end, Role::Address);
                    if self.take_negation(start) {
                        self.draft.conditions.push(predicate.negated());
                    } else {
                        self.draft.addresses.push(predicate);
                    }
                }
                Literal::Region(region) => {
                    let start = self.label(at, &["region|regions"]);
                    let end = self.words.phrase(at + 1, "region").map_or(at + 1, |length| at + 1 + length);
                    self.words.consume(start..end, Role::Region);
                    if self.take_negation(start) {
                        self.draft.conditions.push(Predicate::equals(Column::AwsRegion, region).negated());
                    } else {
                        self.draft.regions.push(region);
                    }
                }
                Literal::Uuid(id) => {
                    let start = self.label(at, &["event id?", "event-id|eventid"]);
                    if start < at && self.draft.event_id.is_none() {
                        self.words.consume(start..at + 1, Role::Object);
                        self.draft.event_id = Some(id);
                    }
                }
                Literal::ResourceId(..) | Literal::Arn(_) | Literal::Email(_) => {}
            }
        }
    }

    fn read_access_key(&mut self, at: usize, key: String) {
        let start =
            self.label(at, &["iam? access key|keys id|ids?", "access-key", "key|keys id?", "credential|credentials"]);
        let verb = Verb::from_word(self.word_before(start));
        let is_object = verb.is_some_and(|verb| KEY_VERBS.contains(&verb.name));
        self.words.consume(start..at + 1, Role::AccessKey);
        if is_object {
            self.words.consume(at..at + 1, Role::Object);
            // The verb still needs its noun.
            for label in start..at {
                if let Some(word) = self.words.all.get_mut(label) {
                    word.role = None;
                }
            }
            self.draft.conditions.push(Predicate::Anywhere(key));
        } else if self.take_negation(start) {
            self.draft.conditions.push(Predicate::equals(Column::UserIdentityAccessKeyId, key).negated());
        } else {
            self.draft.access_keys.push(key);
        }
    }

    fn read_account(&mut self, at: usize, account: String) {
        let start = self.label(at, &["aws? account|accounts id|ids?"]);
        // `what did account 111122223333 do`
        let before = self.word_before(start);
        let is_caller = matches!(before, "by" | "from" | "did" | "has" | "have");
        // `closed account 111122223333`, `shared with account 111122223333`: the account is named in the request.
        let is_changed = !stop_words::is_stop_word(before) && before != "accessed" && Verb::from_word(before).is_some();
        let is_receiving = match before {
            "with" => true,
            "to" | "into" => (0..start).any(|at| {
                let verb = Verb::from_word(self.words.lower(at));
                verb.is_some_and(|verb| GIVING_VERBS.contains(&verb.name))
            }),
            _ => false,
        };
        if is_changed || is_receiving {
            // A verb still needs its noun.
            self.words.consume(if is_changed { at } else { start }..at + 1, Role::Object);
            self.draft.conditions.push(Predicate::Anywhere(account));
            return;
        }
        self.words.consume(start..at + 1, Role::Account);
        let column = if is_caller { Column::UserIdentityAccountId } else { Column::RecipientAccountId };
        if self.take_negation(start) {
            self.draft.conditions.push(Predicate::equals(column, account).negated());
        } else if is_caller {
            self.draft.callers.push(account);
        } else {
            self.draft.accounts.push(account);
        }
    }

    /// The position of the label that ends before this word, or else the position of the word.
    fn label(&self, at: usize, phrases: &[&str]) -> usize {
        let starts = (at.saturating_sub(4)..at)
            .filter(|&start| phrases.iter().any(|phrase| self.words.phrase(start, phrase) == Some(at - start)));
        starts.min().unwrap_or(at)
    }
}
