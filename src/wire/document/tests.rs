use super::*;

const BUCKET: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <s3:NotificationConfiguration xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
    <s3:TopicConfiguration><s3:Id>audit &amp; more</s3:Id><s3:Topic>arn:aws:sns:eu-west-1:111122223333:audit</s3:Topic>\
    <s3:Event>s3:ObjectRemoved:*</s3:Event><s3:Later kind=\"x\">kept</s3:Later></s3:TopicConfiguration>\
    <s3:CloudFunctionConfiguration><s3:Id>thumbs</s3:Id><s3:CloudFunction>arn:f</s3:CloudFunction>\
    <s3:Event>s3:ObjectCreated:Put</s3:Event><s3:Filter><s3:S3Key><s3:FilterRule><s3:Name>Suffix</s3:Name>\
    <s3:Value>.jpg</s3:Value></s3:FilterRule></s3:S3Key></s3:Filter></s3:CloudFunctionConfiguration>\
    <s3:LaterConfiguration><s3:Id>l</s3:Id><s3:Bus>arn:b</s3:Bus><s3:Event>s3:ObjectAcl:Put</s3:Event></s3:LaterConfiguration>\
    </s3:NotificationConfiguration>";

fn rule() -> QueueRule {
    QueueRule {
        id: "trailhose-a&b".into(),
        queue_arn: "arn:aws:sqs:eu-west-1:111122223333:q".into(),
        prefix: "o<1>/".into(),
    }
}

#[test]
fn other_rules_keep_their_bytes() {
    let before = NotificationDocument::parse(BUCKET.into()).unwrap();
    let texts: Vec<_> = before.rules().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "rule audit & more (s3:ObjectRemoved:* of all keys, target arn:aws:sns:eu-west-1:111122223333:audit)",
            "rule thumbs (s3:ObjectCreated:Put of keys with the suffix .jpg, target arn:f)",
            "rule l (s3:ObjectAcl:Put of all keys, target arn:b)",
        ]
    );
    let after = before.with_queue_rule(&rule(), &[]);
    let ours = after.rules().find(|rule| rule.id == "trailhose-a&b").unwrap();
    assert_eq!(
        (ours.filter.prefix.as_str(), ours.is_queue, ours.target.as_str()),
        ("o<1>/", true, "arn:aws:sqs:eu-west-1:111122223333:q")
    );
    let (declaration, body) = BUCKET.split_once('\n').unwrap();
    assert!(declaration.starts_with("<?xml"));
    let added = render(&rule());
    // Topics precede queues in S3's schema, and queues precede functions.
    assert_eq!(after.xml().replacen(&added, "", 1), body);
    assert!(after.xml().contains(&format!("</s3:TopicConfiguration>{added}<s3:CloudFunction")));
    let removed = after.without_rules(&["trailhose-a&b"]);
    assert_eq!(removed.xml(), body);
    let bridged = before.with_event_bridge();
    assert!(bridged.sends_to_event_bridge() && !before.sends_to_event_bridge());
    assert_eq!(bridged.xml().replacen("<EventBridgeConfiguration/>", "", 1), body);
}

#[test]
fn empty_configuration_of_any_notation_gets_a_root_element() {
    for empty in [
        "",
        "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>",
        "<?xml version=\"1.0\"?><NotificationConfiguration></NotificationConfiguration>",
        "<Other/>",
    ] {
        let document = NotificationDocument::parse(empty.into()).unwrap();
        assert_eq!(document.rules().count(), 0);
        let xml = document.with_event_bridge().xml().to_owned();
        assert_eq!(xml, format!("{START}<EventBridgeConfiguration/></NotificationConfiguration>"), "{empty}");
    }
    assert!(
        NotificationDocument::parse("<Other><Rule/></Other>".into()).unwrap_err().contains("root element is Other")
    );
    assert!(NotificationDocument::parse("<a>".into()).is_err());
}

fn of(children: &str) -> NotificationDocument {
    NotificationDocument::parse(format!("<{ROOT}>{children}</{ROOT}>")).unwrap()
}

#[test]
fn only_differences_of_meaning_count() {
    let one = of("<QueueConfiguration><Id>a</Id><Queue>arn:q</Queue><Event>e1</Event><Event>e2</Event><Filter><S3Key>\
                  <FilterRule><Name>prefix</Name><Value>p</Value></FilterRule></S3Key></Filter></QueueConfiguration>");
    let same =
        of("<QueueConfiguration>\n<Queue>arn:q</Queue>\n<Id>a</Id><Event>e2</Event><Event>e1</Event><Filter><S3Key>\
                   <FilterRule><Name>Suffix</Name><Value></Value></FilterRule>\
                   <FilterRule><Name>Prefix</Name><Value>p</Value></FilterRule></S3Key></Filter></QueueConfiguration>");
    assert!(one.differences(&same).is_empty(), "{}", one.differences(&same));
    let unfiltered = of("<QueueConfiguration><Id>a</Id><Queue>arn:q</Queue><Event>e1</Event></QueueConfiguration>");
    let padded = of(
        "<QueueConfiguration><Id>a</Id><Queue>arn:q</Queue><Event>e1</Event><Filter><S3Key/></Filter></QueueConfiguration>",
    );
    assert!(unfiltered.differences(&padded).is_empty());
    let found = unfiltered.differences(&one);
    assert_eq!((found.missing.len(), found.unexpected.len()), (1, 1), "{found}");
    let unknown =
        of("<QueueConfiguration><Id>a</Id><Queue>arn:q</Queue><Event>e1</Event><Later>x</Later></QueueConfiguration>");
    assert_eq!(unfiltered.differences(&unknown).missing.len(), 1, "an element that S3 dropped is a difference");
    let twice = of("<EventBridgeConfiguration/><EventBridgeConfiguration/>");
    assert_eq!(of("<EventBridgeConfiguration/>").differences(&twice).missing, ["EventBridgeConfiguration"]);
}
