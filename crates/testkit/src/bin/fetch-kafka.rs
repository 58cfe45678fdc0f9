//! Fetches what tests with Kafka need, so that no test's time contains the download.

#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what they leave out")]
fn main() {
    if let Some(missing) = vertice_testkit::kafka::missing() {
        eprintln!("tests with Kafka: {missing}");
    }
}
