//! Names and texts of the corpus: domains, entities, owners, descriptions and comments.

pub(super) const DOMAINS: &[&str] = &[
    "logistics",
    "payments",
    "marketing",
    "search",
    "catalog",
    "pricing",
    "fraud",
    "finance",
    "growth",
    "ads",
    "inventory",
    "support",
    "identity",
    "billing",
    "returns",
    "stores",
    "mobile",
    "platform",
    "supply-planning",
    "customer-care",
    "recommendations",
    "experimentation",
    "compliance",
    "telemetry",
];

pub(super) const VARIANTS: &[&str] = &[
    "daily",
    "hourly",
    "by-store",
    "by-country",
    "enriched",
    "cleaned",
    "history",
    "snapshot",
    "features",
    "kpis",
    "scores",
    "deduplicated",
    "joined",
    "report",
];

pub(super) const OWNERS: &[&str] = &[
    "data-platform@example.com",
    "analytics-engineering@example.com",
    "team-checkout",
    "team-fulfilment",
    "ml-platform@example.com",
    "bi@example.com",
    "risk-engineering@example.com",
    "team-search",
];

pub(super) const DESCRIPTIONS: &[&str] = &[
    "Feeds the dashboards of the regional managers.",
    "One row for each item; the finance team closes the month by it.",
    "Cleans what the shops send, and drops what they send twice.",
    "Input of the nightly forecast. Late rows are added the next day.",
    "Kept for seven years; see the retention policy before you change the columns.",
    "Replaces the old job on the warehouse, row for row.",
];

pub(super) const COMMENTS: &[&str] = &[
    "# Changes here need a review by the owner.\n",
    "# Backfill: run it by hand with another day, oldest first.\n",
    "# The partner delivers between 01:00 and 02:30, on Sundays later.\n",
    "# TODO: move to the new catalog once it has grants for us.\n",
    "# Numbers are checked against the ledger every Monday.\n",
];

/// A kind of record in the data, with its columns.
#[derive(Debug)]
pub(super) struct Entity {
    pub(super) name: &'static str,
    pub(super) id: &'static str,
    pub(super) time: &'static str,
    pub(super) dimensions: [&'static str; 3],
    pub(super) measures: [&'static str; 2],
}

macro_rules! entities {
    ($($name:literal $id:literal $time:literal [$($dimension:literal)+] [$($measure:literal)+];)+) => {
        &[$(Entity {
            name: $name,
            id: $id,
            time: $time,
            dimensions: [$($dimension),+],
            measures: [$($measure),+],
        }),+]
    };
}

pub(super) const ENTITIES: &[Entity] = entities! {
    "orders" "order_id" "ordered_at" ["store" "country" "channel"] ["amount" "quantity"];
    "clicks" "click_id" "clicked_at" ["page" "country" "device"] ["dwell_ms" "position"];
    "payments" "payment_id" "paid_at" ["method" "currency" "country"] ["amount" "fee"];
    "shipments" "shipment_id" "shipped_at" ["carrier" "warehouse" "country"] ["weight_g" "cost"];
    "sessions" "session_id" "started_at" ["device" "browser" "country"] ["duration_s" "pages"];
    "refunds" "refund_id" "refunded_at" ["reason" "store" "currency"] ["amount" "items"];
    "impressions" "impression_id" "shown_at" ["campaign" "placement" "country"] ["bid" "cost"];
    "stock-levels" "sku" "counted_at" ["warehouse" "category" "supplier"] ["on_hand" "reserved"];
    "tickets" "ticket_id" "opened_at" ["queue" "priority" "language"] ["replies" "minutes_open"];
    "signups" "user_id" "signed_up_at" ["source" "country" "plan"] ["age_days" "referrals"];
    "prices" "sku" "valid_from" ["region" "currency" "category"] ["list_price" "discount"];
    "sensor-readings" "sensor_id" "measured_at" ["site" "model" "unit"] ["reading" "battery"];
};
