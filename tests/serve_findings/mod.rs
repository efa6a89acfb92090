//! `trailhose serve`: findings and alerts of the API, and their figures.

use crate::laptop::event;
use crate::receiver::{Answer, Receiver};
use crate::serve_client::{Site, quoted};
use serde_json::{Value, json};

/// Settings with one rule, which matches every event, and a destination of alerts.
fn detecting(url: &str) -> Site {
    let site = Site::new("");
    let rules = site.folder.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(
        rules.join("any.yml"),
        "title: Any event\nid: 5f0c1a2e-0000-4000-8000-000000000001\nlevel: high\n\
         logsource: {product: aws, service: cloudtrail}\n\
         detection: {selection: {recipientAccountId: '111122223333'}, condition: selection}\n",
    )
    .unwrap();
    std::fs::write(site.folder.path().join("keys"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    site.write(&format!(
        "[[source]]\nid = \"first\"\nfolder = {}\n[detect]\nrules = \"rules\"\n\
         [[detect.destination]]\nname = \"oncall\"\ntype = \"webhook\"\nurl = {url:?}\nkeys_file = \"keys\"\n\
         allow_private = true\n",
        quoted(site.bucket.path())
    ));
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_and_alerts_are_listed_changed_and_counted() {
    // The destination refuses the first alert for ever.
    let receiver = Receiver::start(Answer::status(400)).await;
    let site = detecting(&receiver.url);
    // The other 40 events are too old for an alert.
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut recent: Value = serde_json::from_str(&event(40)).unwrap();
    recent["eventTime"] = now.into();
    site.bucket.put_log("now", &[recent.to_string()]);
    tokio::task::block_in_place(|| {
        let server = site.start();
        let failed = server.until("/v1/alerts?state=failed", |found| found["alerts"][0]["number"].is_i64());
        let alert = &failed["alerts"][0];
        assert_eq!((&alert["destination"], &alert["kind"]), (&json!("oncall"), &json!("first")), "{failed}");
        assert!(alert["error"].as_str().unwrap().contains("400"), "{failed}");
        let findings = server.until("/v1/findings", |found| found["findings"].as_array().unwrap().len() == 41);
        let metrics = server.get("/metrics").text();
        for line in
            ["trailhose_findings{state=\"open\"} 41", "trailhose_alerts{destination=\"oncall\",state=\"failed\"} 1"]
        {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }

        receiver.set(Answer::status(200));
        let number = alert["number"].as_i64().unwrap();
        let retry = format!("/v1/alerts/{number}/retry");
        assert_eq!(server.post(&retry, &json!({})).status, 202);
        server.until("/v1/alerts?state=sent", |found| found["alerts"][0]["number"] == number);
        assert_eq!(server.post(&retry, &json!({})).status, 404, "it is not failed any more");

        for finding in findings["findings"].as_array().unwrap() {
            let path = format!("/v1/findings/{}", finding["id"].as_str().unwrap());
            let change = json!({"state": "closed", "note": "planned work"});
            let changed = server.request("PATCH", &path).json_body(&change).send();
            assert_eq!((changed.status, &changed.json()["state"]), (200, &json!("closed")), "{changed:?}");
        }
        let one = server.json(&format!("/v1/findings/{}", findings["findings"][0]["id"].as_str().unwrap()));
        assert_eq!((&one["class_uid"], &one["status"]), (&json!(2004), &json!("Resolved")), "{one}");
        let closed = server.json("/v1/findings?state=closed");
        assert_eq!(closed["findings"][0]["note"], "planned work", "{closed}");
        assert_eq!(server.json("/v1/findings?state=open")["findings"], json!([]));
        // A figure of a state without rows is not the last one that the state had.
        let metrics = server.get("/metrics").text();
        for line in
            ["trailhose_findings{state=\"closed\"} 41", "trailhose_alerts{destination=\"oncall\",state=\"sent\"} 1"]
        {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }
        for part in ["trailhose_findings{state=\"open\"}", "state=\"failed\"} 1"] {
            assert!(!metrics.contains(part), "{part} is left in\n{metrics}");
        }
    });
}
