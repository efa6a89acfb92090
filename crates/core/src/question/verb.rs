//! Verbs of questions, and the starts of the names of their operations.

/// What a request did with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verb {
    /// The form in the table of families, for example `delete`.
    pub(super) name: &'static str,
    /// Starts of the names of operations, for example `Delete`.
    pub(super) starts: &'static [&'static str],
}

/// The starts of `change`, without `Delete`.
pub(super) const CHANGES: &[&str] = &["Put", "Update", "Modify", "Set", "Change", "Replace", "Reset"];

/// Name, starts of operations, forms besides the name.
const VERBS: &[(&str, &[&str], &[&str])] = &[
    ("create", &["Create"], &["created", "creates", "creating", "creation", "creations"]),
    (
        "delete",
        &["Delete"],
        &["deleted", "deletes", "deleting", "deletion", "deletions", "destroyed", "destroy", "dropped"],
    ),
    ("remove", &["Remove", "Delete"], &["removed", "removes", "removing", "removal", "removals"]),
    (
        "change",
        CHANGES,
        &[
            "changed",
            "changes",
            "changing",
            "modify",
            "modified",
            "modifies",
            "modifying",
            "modification",
            "modifications",
            "update",
            "updated",
            "updates",
            "updating",
            "edit",
            "edited",
            "edits",
            "altered",
            "alter",
            "set",
            "reconfigured",
        ],
    ),
    ("attach", &["Attach"], &["attached", "attaches", "attaching", "attachment", "attachments"]),
    ("detach", &["Detach"], &["detached", "detaches", "detaching", "detachment", "detachments"]),
    ("stop", &["Stop"], &["stopped", "stops", "stopping"]),
    ("start", &["Start"], &["started", "starts", "starting"]),
    ("reboot", &["Reboot"], &["rebooted", "reboots", "rebooting", "restarted", "restart", "restarts"]),
    ("terminate", &["Terminate"], &["terminated", "terminates", "terminating", "termination", "terminations"]),
    ("launch", &["Run", "Launch"], &["launched", "launches", "launching", "ran"]),
    ("disable", &["Disable"], &["disabled", "disables", "disabling", "disablement"]),
    ("enable", &["Enable"], &["enabled", "enables", "enabling"]),
    ("deactivate", &["Deactivate"], &["deactivated", "deactivates", "deactivating", "deactivation"]),
    ("activate", &["Activate"], &["activated", "activates", "activating", "activation"]),
    (
        "read",
        &["Get", "BatchGet"],
        &["reads", "reading", "retrieved", "retrieves", "retrieval", "fetched", "downloaded", "accessed", "download"],
    ),
    ("describe", &["Describe", "Get"], &["described", "viewed", "view", "inspected"]),
    ("enumerate", &["List", "Describe"], &["listed", "enumerated"]),
    ("copy", &["Copy"], &["copied", "copies", "copying"]),
    ("import", &["Import"], &["imported", "imports", "importing"]),
    ("export", &["Export"], &["exported", "exports", "exporting"]),
    ("upload", &["Upload", "Put"], &["uploaded", "uploads", "uploading"]),
    ("put", &["Put"], &["puts", "written", "wrote", "putting"]),
    ("invite", &["Invite"], &["invited", "invites", "inviting"]),
    ("accept", &["Accept"], &["accepted", "accepts", "accepting"]),
    ("reject", &["Reject", "Decline"], &["rejected", "rejects", "declined"]),
    ("leave", &["Leave"], &["left", "leaves", "leaving"]),
    ("invoke", &["Invoke"], &["invoked", "invokes", "invoking", "invocation", "invocations"]),
    ("purge", &["Purge"], &["purged", "purges", "purging"]),
    ("archive", &["Archive"], &["archived", "archives", "archiving"]),
    ("restore", &["Restore"], &["restored", "restores", "restoring"]),
    ("rotate", &["Rotate"], &["rotated", "rotates", "rotating", "rotation"]),
    ("schedule", &["Schedule"], &["scheduled", "schedules", "scheduling"]),
    ("cancel", &["Cancel"], &["cancelled", "canceled", "cancels", "cancellation"]),
    ("tag", &["Tag", "CreateTags"], &["tagged", "tagging"]),
    ("untag", &["Untag"], &["untagged", "untagging"]),
    ("add", &["Add"], &["added", "adds", "adding"]),
    ("authorize", &["Authorize"], &["authorized", "authorizes", "authorised", "allowed", "opened", "open", "opens"]),
    ("revoke", &["Revoke"], &["revoked", "revokes", "revoking"]),
    ("allocate", &["Allocate"], &["allocated", "allocates"]),
    ("release", &["Release"], &["released", "releases"]),
    ("replace", &["Replace"], &["replaced", "replaces"]),
    ("publish", &["Publish"], &["published", "publishes"]),
    ("subscribe", &["Subscribe"], &["subscribed", "subscribes", "subscriptions"]),
    ("unsubscribe", &["Unsubscribe"], &["unsubscribed", "unsubscribes"]),
    ("send", &["Send"], &["sent", "sends"]),
    ("execute", &["Execute", "Start"], &["executed", "executes", "execution", "executions"]),
    ("associate", &["Associate"], &["associated", "associates", "association"]),
    ("disassociate", &["Disassociate"], &["disassociated", "disassociates"]),
    ("register", &["Register"], &["registered", "registers", "registration"]),
    ("deregister", &["Deregister"], &["deregistered", "deregisters"]),
    ("assume", &["Assume"], &["assumed", "assumes", "assuming", "assumption"]),
    ("reset", &["Reset"], &["resets", "resetting"]),
    ("request", &["Request"], &["requested"]),
    ("approve", &["Approve"], &["approved", "approves"]),
    ("suspend", &["Suspend"], &["suspended", "suspends"]),
    ("resume", &["Resume"], &["resumed", "resumes"]),
    ("close", &["Close"], &["closed", "closes"]),
    ("switch", &["Switch"], &["switched", "switches", "switching"]),
    ("share", &["Share"], &["shared", "shares", "sharing"]),
    // Written as one word after `make … public` was recognized.
    ("publicize", &["Publicize"], &[]),
    ("encrypt", &["Encrypt"], &["encrypted"]),
    ("decrypt", &["Decrypt"], &["decrypted"]),
    ("promote", &["Promote"], &["promoted"]),
    ("move", &["Move"], &["moved", "moves"]),
    ("turn off", &["Disable", "Stop"], &[]),
    ("turn on", &["Enable", "Start"], &[]),
];

impl Verb {
    /// Returns the verb with this form. `list`, `get` and `search` are not verbs, because they introduce questions.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        let row = VERBS.iter().find(|(name, _, forms)| *name == word || forms.contains(&word))?;
        Some(Self { name: row.0, starts: row.1 })
    }
}
