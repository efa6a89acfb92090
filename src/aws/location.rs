//! S3 locations: `s3://bucket/key`, also with the ARN of an access point or a bucket.

/// Splits `bucket/key` into the bucket and the key. The bucket may be an ARN, which contains slashes itself:
/// `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/key`. The ARN of a bucket becomes its name. Aliases of access points are
/// bucket names.
///
/// # Errors
/// Returns the expected form if the bucket is missing, or if the ARN is not one of an access point or a bucket.
pub fn split_location(text: &str) -> Result<(&str, &str), String> {
    let Some(arn) = text.strip_prefix("arn:") else {
        let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
        return match bucket {
            "" => Err("the bucket name is missing; expected s3://bucket[/prefix]".into()),
            _ => Ok((bucket, key)),
        };
    };
    let expected = || {
        format!(
            "invalid ARN {text:?}: expected arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME[/prefix] or arn:aws:s3:::bucket[/prefix]"
        )
    };
    let fields: Vec<&str> = arn.splitn(5, ':').collect();
    let &[_partition, "s3", region, account, resource] = &fields[..] else { return Err(expected()) };
    let (first, rest) = resource.split_once(['/', ':']).unwrap_or((resource, ""));
    match (region, account, first) {
        ("", "", "") => Err(expected()),
        ("", "", bucket) => Ok((bucket, rest)),
        ("", _, _) => Err(format!(
            "{text}: a multi-region access point is not supported; use the access point or the bucket of one region"
        )),
        (_, _, "accesspoint") => {
            let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
            match name {
                "" => Err(expected()),
                _ => Ok((&text[..text.len() - (rest.len() - name.len())], key)),
            }
        }
        _ => Err(expected()),
    }
}

/// Returns the region of an access point's ARN, or `None` for a bucket name.
pub fn arn_region(bucket: &str) -> Option<&str> {
    bucket.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_may_be_an_arn() {
        const POINT: &str = "arn:aws-us-gov:s3:us-gov-west-1:111122223333:accesspoint/logs";
        for (text, bucket, key) in [
            ("b", "b", ""),
            ("b/", "b", ""),
            ("b/p/q/", "b", "p/q/"),
            ("logs-abc-s3alias/p", "logs-abc-s3alias", "p"),
            (POINT, POINT, ""),
            (&format!("{POINT}/"), POINT, ""),
            (&format!("{POINT}/p/q"), POINT, "p/q"),
            ("arn:aws:s3:::b", "b", ""),
            ("arn:aws-cn:s3:::b/p/q", "b", "p/q"),
        ] {
            assert_eq!(split_location(text), Ok((bucket, key)), "{text}");
        }
        assert_eq!((arn_region(POINT), arn_region("b")), (Some("us-gov-west-1"), None));
        for (text, expected) in [
            ("", "bucket name is missing"),
            ("/k", "bucket name is missing"),
            ("arn:aws:s3:::", "expected arn:aws:s3:REGION"),
            ("arn:aws:sns:eu-west-1:111122223333:topic", "expected arn:aws:s3:REGION"),
            ("arn:aws:s3:eu-west-1:111122223333:accesspoint/", "expected arn:aws:s3:REGION"),
            ("arn:aws:s3::111122223333:accesspoint/x.mrap", "multi-region"),
        ] {
            assert!(split_location(text).unwrap_err().contains(expected), "{text}");
        }
    }
}
