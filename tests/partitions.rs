//! The files of a deployment name no partition, so that they are valid in AWS GovCloud and in China too.

use std::path::Path;

#[test]
fn deployment_files_name_no_partition() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let infra = std::fs::read_dir(root.join("infra")).unwrap().map(|entry| entry.unwrap().path());
    // The folders contain files of Kubernetes, Prometheus and Grafana, which are not deployed to AWS.
    let files: Vec<_> = infra.filter(|path| path.is_file()).chain([root.join("template.yaml")]).collect();
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            let at = format!("{}:{number}: {line}", file.display());
            assert!(!line.contains("arn:aws"), "{at}");
            assert!(!(line.contains("kms:ViaService") && line.contains("amazonaws.com")), "{at}");
        }
    }
}
