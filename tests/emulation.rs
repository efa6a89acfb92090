//! What the other tests stand on: the emulators answer, and end with their tests.

mod bed;

use bed::emulator::Emulator;
use std::net::TcpStream;

async fn keeps_what_it_is_given(emulator: &Emulator) {
    let s3 = aws_sdk_s3::Client::new(&emulator.config());
    s3.create_bucket().bucket("kept").send().await.unwrap();
    s3.put_object().bucket("kept").key("a b/ü=1").body(b"bytes".to_vec().into()).send().await.unwrap();
    let got = s3.get_object().bucket("kept").key("a b/ü=1").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"bytes");
    let tables = aws_sdk_dynamodb::Client::new(&emulator.config()).list_tables().send().await.unwrap();
    assert!(tables.table_names().is_empty());
}

#[tokio::test]
async fn ministack_answers_and_ends_with_its_owner() {
    let emulator = Emulator::shared_ministack();
    keeps_what_it_is_given(emulator).await;

    let own = Emulator::ministack(bed::emulator::Policies::Enforced, bed::emulator::LambdaEndpoint::Emulator);
    let address = own.endpoint().trim_start_matches("http://").to_owned();
    let folder = own.folder().to_path_buf();
    assert!(TcpStream::connect(&address).is_ok());
    drop(own);
    assert!(TcpStream::connect(&address).is_err(), "still listening on {address}");
    assert!(!folder.exists());
}

#[tokio::test]
async fn moto_answers() {
    keeps_what_it_is_given(Emulator::shared_moto()).await;
}
