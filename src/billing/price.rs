//! Converts billed units to dollars at AWS's list prices.
//!
//! `ledger::cost` and `sink::cost` count the units that DynamoDB and Firehose bill. This module multiplies them by
//! the prices of one region on one date, without free tiers, discounts and taxes. Prices of other regions differ by
//! some tens of percent. No prices are fetched from AWS.

use crate::ledger::cost::LedgerUsage;
use std::ops::{Add, AddAssign, Mul};

/// The region whose prices [`LIST_PRICES`] holds: Northern Virginia.
pub const REGION: &str = "us-east-1";

/// The month of the prices in [`LIST_PRICES`].
pub const AS_OF: &str = "2026-11";

/// The bytes of a GB on AWS's price pages: 2³⁰, as for AWS's GB of memory and storage.
pub(crate) const GB: f64 = 1_073_741_824.0;

/// A separately billed item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// DynamoDB, on demand: write request units.
    LedgerWrites,
    /// DynamoDB, on demand: read request units.
    LedgerReads,
    /// DynamoDB, standard table class: GB-months of storage.
    LedgerStorage,
    /// Firehose, Direct PUT: GB of records, each rounded up to 5 KB.
    Firehose,
    /// S3 Standard: GET requests.
    S3Get,
    /// S3 Standard: LIST requests, each of up to 1,000 keys.
    S3List,
    /// S3 Standard: PUT requests.
    S3Put,
    /// SQS, standard queue: requests, each of up to 64 KB.
    Sqs,
    /// Lambda: invocations.
    LambdaRequests,
    /// Lambda on arm64: seconds times GB of memory.
    LambdaGbSeconds,
}

/// One list price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// The billed item.
    pub item: Item,
    /// The service name on the bill.
    pub service: &'static str,
    /// The name of the unit.
    pub unit: &'static str,
    /// Dollars for `per` units.
    pub dollars: f64,
    /// The number of units that `dollars` buys.
    pub per: f64,
    /// The URL of the price page.
    pub page: &'static str,
}

const MILLION: f64 = 1e6;

const DYNAMODB_PAGE: &str = "https://aws.amazon.com/dynamodb/pricing/on-demand/";
const S3_PAGE: &str = "https://aws.amazon.com/s3/pricing/";
const LAMBDA_PAGE: &str = "https://aws.amazon.com/lambda/pricing/";

/// The first-tier list prices of [`REGION`] as of [`AS_OF`], in the order of a bill.
pub const LIST_PRICES: [Price; 10] = [
    price(Item::LedgerWrites, "DynamoDB", "write units", 0.625, MILLION, DYNAMODB_PAGE),
    price(Item::LedgerReads, "DynamoDB", "read units", 0.125, MILLION, DYNAMODB_PAGE),
    price(Item::LedgerStorage, "DynamoDB", "GB-months kept", 0.25, 1.0, DYNAMODB_PAGE),
    price(Item::Firehose, "Firehose", "GB in steps of 5 KB", 0.029, 1.0, "https://aws.amazon.com/firehose/pricing/"),
    price(Item::S3Get, "S3", "GET requests", 0.4, MILLION, S3_PAGE),
    price(Item::S3List, "S3", "LIST requests", 5.0, MILLION, S3_PAGE),
    price(Item::S3Put, "S3", "PUT requests", 5.0, MILLION, S3_PAGE),
    price(Item::Sqs, "SQS", "requests", 0.4, MILLION, "https://aws.amazon.com/sqs/pricing/"),
    price(Item::LambdaRequests, "Lambda", "invocations", 0.2, MILLION, LAMBDA_PAGE),
    price(Item::LambdaGbSeconds, "Lambda", "GB-seconds (arm64)", 0.000_013_333_4, 1.0, LAMBDA_PAGE),
];

const fn price(
    item: Item,
    service: &'static str,
    unit: &'static str,
    dollars: f64,
    per: f64,
    page: &'static str,
) -> Price {
    Price { item, service, unit, dollars, per, page }
}

/// Usage in the units that AWS bills. Scaled samples have fractional units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BilledUnits {
    /// DynamoDB write request units.
    pub write_units: f64,
    /// DynamoDB read request units.
    pub read_units: f64,
    /// GB-months of storage in the table.
    pub ledger_gb_months: f64,
    /// Bytes of Firehose records, each rounded up: [`crate::sink::cost::SinkUsage::billed_bytes`].
    pub firehose_bytes: f64,
    /// S3 GET requests.
    pub s3_gets: f64,
    /// S3 LIST requests.
    pub s3_lists: f64,
    /// S3 PUT requests.
    pub s3_puts: f64,
    /// SQS requests: sends, receives and deletes. A batch of up to 64 KB is one request.
    pub sqs_requests: f64,
    /// Lambda invocations.
    pub lambda_requests: f64,
    /// Lambda's execution time in seconds, multiplied by the function's memory in GB.
    pub lambda_gb_seconds: f64,
}

impl BilledUnits {
    /// Returns the billed units of a ledger.
    pub fn ledger(usage: LedgerUsage) -> Self {
        Self { write_units: usage.write_units as f64, read_units: usage.read_units as f64, ..Self::default() }
    }

    fn units(&self, item: Item) -> f64 {
        match item {
            Item::LedgerWrites => self.write_units,
            Item::LedgerReads => self.read_units,
            Item::LedgerStorage => self.ledger_gb_months,
            Item::Firehose => self.firehose_bytes / GB,
            Item::S3Get => self.s3_gets,
            Item::S3List => self.s3_lists,
            Item::S3Put => self.s3_puts,
            Item::Sqs => self.sqs_requests,
            Item::LambdaRequests => self.lambda_requests,
            Item::LambdaGbSeconds => self.lambda_gb_seconds,
        }
    }

    /// Returns the bill in the order of [`LIST_PRICES`], without items that have no units.
    pub fn bill(&self) -> Bill {
        let lines = LIST_PRICES.iter().filter_map(|price| {
            let units = self.units(price.item);
            (units > 0.0).then(|| BillLine { price: *price, units, dollars: units / price.per * price.dollars })
        });
        Bill { lines: lines.collect() }
    }

    /// Returns the total in dollars.
    pub fn dollars(&self) -> f64 {
        self.bill().dollars()
    }
}

impl Add for BilledUnits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            write_units: self.write_units + other.write_units,
            read_units: self.read_units + other.read_units,
            ledger_gb_months: self.ledger_gb_months + other.ledger_gb_months,
            firehose_bytes: self.firehose_bytes + other.firehose_bytes,
            s3_gets: self.s3_gets + other.s3_gets,
            s3_lists: self.s3_lists + other.s3_lists,
            s3_puts: self.s3_puts + other.s3_puts,
            sqs_requests: self.sqs_requests + other.sqs_requests,
            lambda_requests: self.lambda_requests + other.lambda_requests,
            lambda_gb_seconds: self.lambda_gb_seconds + other.lambda_gb_seconds,
        }
    }
}

impl AddAssign for BilledUnits {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Scales the units by a factor.
impl Mul<f64> for BilledUnits {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self {
            write_units: self.write_units * factor,
            read_units: self.read_units * factor,
            ledger_gb_months: self.ledger_gb_months * factor,
            firehose_bytes: self.firehose_bytes * factor,
            s3_gets: self.s3_gets * factor,
            s3_lists: self.s3_lists * factor,
            s3_puts: self.s3_puts * factor,
            sqs_requests: self.sqs_requests * factor,
            lambda_requests: self.lambda_requests * factor,
            lambda_gb_seconds: self.lambda_gb_seconds * factor,
        }
    }
}

/// The cost of billed units.
#[derive(Debug, Clone, PartialEq)]
pub struct Bill {
    /// One line per item.
    pub lines: Vec<BillLine>,
}

/// One item of a bill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BillLine {
    /// The list price.
    pub price: Price,
    /// The number of units.
    pub units: f64,
    /// The cost of these units in dollars.
    pub dollars: f64,
}

impl Bill {
    /// Returns the total in dollars.
    pub fn dollars(&self) -> f64 {
        self.lines.iter().map(|line| line.dollars).sum()
    }

    /// Returns the total of each service in dollars, in the order of [`LIST_PRICES`].
    pub fn by_service(&self) -> Vec<(&'static str, f64)> {
        let mut services: Vec<(&'static str, f64)> = Vec::new();
        for line in &self.lines {
            match services.last_mut() {
                Some((service, dollars)) if *service == line.price.service => *dollars += line.dollars,
                _ => services.push((line.price.service, line.dollars)),
            }
        }
        services
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million of each unit, or one GB, GB-month and GB-second, cost the prices on the price pages.
    #[test]
    fn bill_contains_every_item_once_at_its_list_price() {
        let billed_units = BilledUnits {
            write_units: 1e6,
            read_units: 1e6,
            ledger_gb_months: 1.0,
            firehose_bytes: GB,
            s3_gets: 1e6,
            s3_lists: 1e6,
            s3_puts: 1e6,
            sqs_requests: 1e6,
            lambda_requests: 1e6,
            lambda_gb_seconds: 1.0,
        };
        let dollars: Vec<f64> = billed_units.bill().lines.iter().map(|line| line.dollars).collect();
        assert_eq!(dollars, [0.625, 0.125, 0.25, 0.029, 0.4, 5.0, 5.0, 0.4, 0.2, 0.000_013_333_4]);
        let sum: f64 = dollars.iter().sum();
        assert!((billed_units.dollars() - sum).abs() < 1e-12);
        let services = billed_units.bill().by_service();
        assert_eq!(
            services.iter().map(|(service, _)| *service).collect::<Vec<_>>(),
            ["DynamoDB", "Firehose", "S3", "SQS", "Lambda"]
        );
        assert!((services.iter().map(|(_, dollars)| dollars).sum::<f64>() - sum).abs() < 1e-12);
        let twice = [billed_units + billed_units, billed_units * 2.0];
        assert!(twice.iter().all(|twice| (twice.dollars() - 2.0 * sum).abs() < 1e-12));
    }

    #[test]
    fn item_without_units_is_not_on_the_bill() {
        let usage = LedgerUsage { write_units: 8, ..LedgerUsage::default() };
        let bill = BilledUnits::ledger(usage).bill();
        assert_eq!(bill.lines.iter().map(|line| line.price.item).collect::<Vec<_>>(), [Item::LedgerWrites]);
        assert!((bill.dollars() - 5e-6).abs() < 1e-15);
        assert_eq!(BilledUnits::default().dollars(), 0.0);
    }
}
