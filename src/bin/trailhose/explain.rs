//! `trailhose explain`.

pub(crate) async fn run(_: crate::args::ExplainArgs) -> Result<u8, String> {
    Err("explain is not in this build yet".into())
}
