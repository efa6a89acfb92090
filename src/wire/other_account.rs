//! The policies that a bucket and a key in another account need, filled in for a stack.

/// The roles of a stack and the bucket in another account that they read.
#[derive(Debug, Clone, Copy)]
pub struct ForeignBucket<'a> {
    /// Name of the bucket.
    pub bucket: &'a str,
    /// Partition of the account, such as `aws`.
    pub partition: &'a str,
    /// Region of the bucket and the stack.
    pub region: &'a str,
    /// ARN of the role of the ingest function.
    pub ingest_role: &'a str,
    /// ARN of the role of the backfill function.
    pub backfill_role: &'a str,
    /// Whether a KMS key encrypts the objects.
    pub has_key: bool,
}

impl ForeignBucket<'_> {
    /// Returns the statements to add to the bucket's policy, as a JSON document.
    pub fn bucket_policy(&self) -> String {
        let template = include_str!("../../infra/log-bucket-policy.json");
        // The backfill reads objects only to test whether their key can be used again.
        let readers = if self.has_key { "[\"ROLE_ARN\", \"BACKFILL_ROLE_ARN\"]" } else { "[\"ROLE_ARN\"]" };
        self.filled(&template.replacen("[\"ROLE_ARN\", \"BACKFILL_ROLE_ARN\"]", readers, 1))
    }

    /// Returns the statements to add to the key's policy, as a JSON document, if there is a key.
    pub fn key_policy(&self) -> Option<String> {
        self.has_key.then(|| self.filled(include_str!("../../infra/log-key-policy.json")))
    }

    fn filled(&self, template: &str) -> String {
        let suffix = if self.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        template
            .replace("BACKFILL_ROLE_ARN", self.backfill_role)
            .replace("ROLE_ARN", self.ingest_role)
            .replace("PARTITION", self.partition)
            .replace("BUCKET", self.bucket)
            .replace("REGION", self.region)
            .replace("DNS_SUFFIX", suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn policies_name_the_roles_and_the_bucket() {
        let mut foreign = ForeignBucket {
            bucket: "org-logs",
            partition: "aws-cn",
            region: "cn-north-1",
            ingest_role: "arn:aws-cn:iam::111122223333:role/i",
            backfill_role: "arn:aws-cn:iam::111122223333:role/b",
            has_key: false,
        };
        let policy: Value = serde_json::from_str(&foreign.bucket_policy()).unwrap();
        let [reads, lists] = &policy["Statement"].as_array().unwrap()[..] else { panic!("{policy}") };
        assert_eq!(reads["Principal"]["AWS"], json!([foreign.ingest_role]));
        assert_eq!(reads["Resource"], "arn:aws-cn:s3:::org-logs/*");
        assert_eq!(lists["Principal"]["AWS"], json!([foreign.ingest_role, foreign.backfill_role]));
        assert_eq!(foreign.key_policy(), None);
        foreign.has_key = true;
        let policy: Value = serde_json::from_str(&foreign.bucket_policy()).unwrap();
        assert_eq!(policy["Statement"][0]["Principal"]["AWS"], json!([foreign.ingest_role, foreign.backfill_role]));
        let key: Value = serde_json::from_str(&foreign.key_policy().unwrap()).unwrap();
        let via = &key["Statement"][0]["Condition"]["StringEquals"]["kms:ViaService"];
        assert_eq!(via, "s3.cn-north-1.amazonaws.com.cn");
    }
}
