//! Renders a proposal as `samconfig.toml`, from which `sam build` and `sam deploy` read all options.

use super::{Proposal, ProposedWiring};
use std::fmt::Write as _;

impl Proposal {
    /// Returns the text of `samconfig.toml`. `notes` become comments.
    pub fn samconfig(&self, notes: &[String]) -> String {
        let mut text = String::from("# Written by trailhose init --sam. Parameters: docs/deploy.md\n");
        for note in notes {
            let _ = writeln!(text, "# {}", comment(note));
        }
        let _ = write!(
            text,
            "version = 0.1\n\n[default.build.parameters]\n\
             # Cargo locks its target folder, so parallel builds would wait for each other.\nparallel = false\n\n\
             [default.deploy.parameters]\nstack_name = {}\nregion = {}\ncapabilities = \"CAPABILITY_IAM\"\nresolve_s3 = true\n\
             confirm_changeset = false\nfail_on_empty_changeset = false\nparameter_overrides = [\n",
            quoted(&self.stack),
            quoted(&self.region),
        );
        let mut set = |reason: &str, name: &str, value: &str| {
            if !reason.is_empty() {
                let _ = writeln!(text, "  # {}", comment(reason));
            }
            let _ = writeln!(text, "  {},", quoted(&format!("{name}={value}")));
        };
        set(&self.bucket_reason, "LogBucketName", &self.bucket);
        if let Some(account) = &self.bucket_account {
            let reason = match self.is_account_assumed {
                true => "Assumed because its trails belong to this account: check that it owns the bucket",
                false => "The account that owns the bucket",
            };
            set(reason, "LogBucketAccountId", account);
        }
        if !self.prefix.is_empty() {
            set("", "LogPrefix", &self.prefix);
        }
        if let Some(key) = &self.key_arn {
            set("The key that encrypts the objects", "LogBucketKeyArn", key);
        }
        set(&self.wiring_reason, "Wiring", self.wiring.as_str());
        if let ProposedWiring::Sns { topic } = &self.wiring {
            set("", "SnsTopicArn", topic);
        }
        let reason = match (&self.wiring, self.wires_bucket) {
            (ProposedWiring::Sns { .. }, _) => "",
            (_, true) => {
                "The stack adds the notification to the bucket, keeps all others, and removes it when it is deleted"
            }
            (_, false) => "Connect the bucket after the deployment: trailhose wire",
        };
        set(reason, "WireBucket", if self.wires_bucket { "true" } else { "false" });
        if let Some(email) = &self.alarm_email {
            set("", "AlarmEmail", email);
        }
        text.push_str("]\n");
        text
    }
}

/// Returns a TOML basic string.
fn quoted(text: &str) -> String {
    // JSON's escapes are valid in TOML, except that TOML requires an escape for DEL.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Returns the text without control characters, which a TOML comment must not contain.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
