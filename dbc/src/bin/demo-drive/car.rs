//! The car and the drive: get in, start, accelerate to 50 km/h, change lanes, brake for an obstacle, stop, get out.

/// Times of the drive in seconds.
const DOOR_CLOSED: f64 = 0.9;
const ENGINE_STARTED: f64 = 1.4;
const LOCKED: f64 = 2.0;
const ACCELERATE: (f64, f64) = (2.2, 8.5);
const LANE_CHANGE: (f64, f64) = (9.0, 12.0);
const BRAKE: (f64, f64) = (12.5, 16.8);
const ENGINE_STOPPED: f64 = 17.6;
const UNLOCKED: f64 = 18.2;
const DOOR_OPENED: f64 = 18.8;

const CRUISE_KMH: f64 = 50.0;
const IDLE_RPM: f64 = 850.0;
/// Up to which speed in km/h each gear is used, and engine revolutions per minute and km/h in it.
const GEARS: [(f64, f64); 4] = [(14.0, 190.0), (28.0, 105.0), (42.0, 70.0), (f64::INFINITY, 52.0)];
const WHEELBASE_M: f64 = 2.6;
const STEERING_RATIO: f64 = 15.0;
const DEG_PER_RAD: f64 = 57.295_779_513_082_32;
/// Highest steering wheel angle of the lane change.
const LANE_CHANGE_DEG: f64 = 24.0;
/// The obstacle stands this far beyond the place where the car stops.
const OBSTACLE_GAP_M: f64 = 6.0;
const SENSOR_RANGE_M: f64 = 60.0;
const ODOMETER_KM: f64 = 23_456.0;
const METRES_PER_DEG: f64 = 111_320.0;
/// On the equator, in the Gulf of Guinea: nobody's address.
const START_DEG: (f64, f64) = (0.0, 0.0);

/// Noise of sensors and clocks: a linear congruential generator (Knuth's MMIX constants).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u32) -> Self {
        Self(seed.into())
    }

    /// Evenly from 0 to `limit - 1`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Evenly from -`amplitude` to `amplitude`.
    fn around_zero(&mut self, amplitude: f64) -> f64 {
        amplitude * (self.below(2_001) as f64 / 1_000.0 - 1.0)
    }
}

/// A curve from 0 to 1 whose slope begins and ends with 0, and what belongs to it.
struct Ramp {
    value: f64,
    /// Per second.
    slope: f64,
    /// Area under it, in seconds.
    area: f64,
}

/// `3u² - 2u³` between the two times.
fn ramp(time_s: f64, (start, end): (f64, f64)) -> Ramp {
    let duration = end - start;
    let u = ((time_s - start) / duration).clamp(0.0, 1.0);
    let after = (time_s - end).max(0.0);
    Ramp {
        value: u * u * (3.0 - 2.0 * u),
        slope: 6.0 * u * (1.0 - u) / duration,
        area: (u * u * u - u * u * u * u / 2.0) * duration + after,
    }
}

/// The car at one moment.
pub struct Car {
    time_s: f64,
    speed_kmh: f64,
    acceleration_ms2: f64,
    distance_m: f64,
    steering_deg: f64,
    steering_rate_degs: f64,
}

impl Car {
    pub fn at(time_s: f64) -> Self {
        let (up, down) = (ramp(time_s, ACCELERATE), ramp(time_s, BRAKE));
        let metres = |kmh_s: f64| kmh_s * CRUISE_KMH / 3.6;
        let (steering_deg, steering_rate_degs) = lane_change(time_s);
        Self {
            time_s,
            speed_kmh: CRUISE_KMH * (up.value - down.value),
            acceleration_ms2: metres(up.slope - down.slope),
            distance_m: metres(up.area - down.area),
            steering_deg,
            steering_rate_degs,
        }
    }

    /// The signals of a message, by the names of `demo-car.dbc`, in the `count`th frame of its kind.
    pub fn values(&self, message: &str, count: usize, noise: &mut Noise) -> Vec<(&'static str, f64)> {
        let alive = (count % 16) as f64;
        match message {
            "Engine" => self.engine(alive, noise),
            "Speed" => vec![("VehicleSpeed", self.speed_kmh), ("VehicleSpeedValid", 1.0), ("SpeedAliveCounter", alive)],
            "Wheels" => self.wheels(noise),
            "Steering" => vec![
                ("SteeringAngle", self.steering_deg + noise.around_zero(0.1)),
                ("SteeringRate", self.steering_rate_degs),
                ("SteeringAliveCounter", alive),
            ],
            "Brakes" => self.brakes(alive),
            "Motion" => vec![
                ("LongitudinalAcceleration", self.acceleration_ms2 + noise.around_zero(0.03)),
                ("LateralAcceleration", self.speed_ms() * self.yaw_rate_degs() / DEG_PER_RAD + noise.around_zero(0.03)),
                ("YawRate", self.yaw_rate_degs() + noise.around_zero(0.05)),
            ],
            "Transmission" => vec![
                ("CurrentGear", self.gear() as f64),
                ("SelectorPosition", if self.during(LOCKED, ENGINE_STOPPED) { 3.0 } else { 0.0 }),
                ("TransmissionAliveCounter", alive),
            ],
            "Surroundings" => self.surroundings(alive),
            "Doors" => vec![
                ("DoorFrontLeftOpen", flag(!self.during(DOOR_CLOSED, DOOR_OPENED))),
                ("DoorsLocked", flag(self.during(LOCKED, UNLOCKED))),
            ],
            "Lights" => vec![
                ("LowBeamOn", flag(self.running())),
                // On and off every 400 ms.
                (
                    "IndicatorLeftOn",
                    flag(self.during(LANE_CHANGE.0 - 1.0, LANE_CHANGE.1) && (count / 4).is_multiple_of(2)),
                ),
                ("BrakeLightOn", flag(self.brake_pedal() > 0.0)),
            ],
            "Battery" => vec![
                ("BatteryVoltage", if self.running() { 14.1 } else { 12.5 } + noise.around_zero(0.03)),
                ("BatteryCurrent", if self.running() { 6.0 } else { -8.0 } + noise.around_zero(0.4)),
                ("BatteryStateOfCharge", 87.5),
            ],
            "Trip" => vec![("TraveledDistance", ODOMETER_KM + self.distance_m / 1_000.0), ("FuelLevel", 62.5)],
            "Tires" => tires(count),
            "Position" => {
                vec![("Latitude", START_DEG.0 + self.distance_m / METRES_PER_DEG), ("Longitude", START_DEG.1)]
            }
            other => unreachable!("demo-car.dbc has a message {other} that the car does not know"),
        }
    }

    fn engine(&self, alive: f64, noise: &mut Noise) -> Vec<(&'static str, f64)> {
        let load = (self.acceleration_ms2 / 3.5).clamp(-0.1, 1.0);
        let (speed_rpm, torque_nm) = if self.running() {
            (self.engine_rpm() + noise.around_zero(6.0), 20.0 + 180.0 * load + noise.around_zero(1.0))
        } else {
            (0.0, 0.0)
        };
        vec![
            ("EngineSpeed", speed_rpm),
            ("EngineTorque", torque_nm),
            ("EngineRunning", flag(self.running())),
            ("AcceleratorPosition", 70.0 * load.max(0.0)),
            ("CoolantTemperature", 62.0 + self.time_s / 2.0),
            ("EngineAliveCounter", alive),
        ]
    }

    fn wheels(&self, noise: &mut Noise) -> Vec<(&'static str, f64)> {
        // In a curve to the left the right wheels are faster.
        let difference = self.yaw_rate_degs() / DEG_PER_RAD * 0.75 * 3.6;
        let mut wheel = |side: f64| {
            let noise = if self.speed_kmh > 0.0 { noise.around_zero(0.06) } else { 0.0 };
            (self.speed_kmh + side * difference + noise).max(0.0)
        };
        vec![
            ("WheelSpeedFrontLeft", wheel(-1.0)),
            ("WheelSpeedFrontRight", wheel(1.0)),
            ("WheelSpeedRearLeft", wheel(-1.0)),
            ("WheelSpeedRearRight", wheel(1.0)),
        ]
    }

    fn brakes(&self, alive: f64) -> Vec<(&'static str, f64)> {
        let pedal = self.brake_pedal();
        vec![
            ("BrakePedalPosition", pedal),
            ("BrakePressure", 1.5 * pedal),
            ("BrakePedalPressed", flag(pedal > 0.0)),
            ("BrakesAliveCounter", alive),
        ]
    }

    fn surroundings(&self, alive: f64) -> Vec<(&'static str, f64)> {
        let distance_m = Self::at(BRAKE.1).distance_m + OBSTACLE_GAP_M - self.distance_m;
        let detected = distance_m <= SENSOR_RANGE_M;
        vec![
            ("ObjectDetected", flag(detected)),
            ("ObjectDistance", if detected { distance_m } else { 0.0 }),
            ("SurroundingsAliveCounter", alive),
        ]
    }

    fn during(&self, start_s: f64, end_s: f64) -> bool {
        (start_s..end_s).contains(&self.time_s)
    }

    fn running(&self) -> bool {
        self.during(ENGINE_STARTED, ENGINE_STOPPED)
    }

    fn speed_ms(&self) -> f64 {
        self.speed_kmh / 3.6
    }

    /// In percent: by how hard the car slows down, and held at a standstill.
    fn brake_pedal(&self) -> f64 {
        let standing = self.running() && self.speed_kmh == 0.0;
        if standing { 12.0 } else { (-self.acceleration_ms2 * 9.0).clamp(0.0, 100.0) }
    }

    /// The single-track model for small angles; left is positive.
    fn yaw_rate_degs(&self) -> f64 {
        self.speed_ms() * self.steering_deg / (STEERING_RATIO * WHEELBASE_M)
    }

    fn gear(&self) -> usize {
        let gear = GEARS.iter().take_while(|(limit_kmh, _)| self.speed_kmh > *limit_kmh).count() + 1;
        if self.speed_kmh > 0.0 { gear } else { 0 }
    }

    fn engine_rpm(&self) -> f64 {
        let in_gear = self.gear().checked_sub(1).map_or(0.0, |gear| GEARS[gear].1 * self.speed_kmh);
        in_gear.max(IDLE_RPM)
    }
}

/// Angle and rate: to the left and back, then to the right and back.
fn lane_change(time_s: f64) -> (f64, f64) {
    let (start, end) = LANE_CHANGE;
    let step = (end - start) / 4.0;
    let edge = |number: f64, weight: f64| {
        let from = start + number * step;
        let ramp = ramp(time_s, (from, from + step));
        (weight * LANE_CHANGE_DEG * ramp.value, weight * LANE_CHANGE_DEG * ramp.slope)
    };
    let edges = [edge(0.0, 1.0), edge(1.0, -2.0), edge(3.0, 1.0)];
    edges.iter().fold((0.0, 0.0), |sum, edge| (sum.0 + edge.0, sum.1 + edge.1))
}

fn tires(count: usize) -> Vec<(&'static str, f64)> {
    let wheel = count % 4;
    let (name, pressure_kpa) = [
        ("TirePressureFrontLeft", 230.0),
        ("TirePressureFrontRight", 232.0),
        ("TirePressureRearLeft", 218.0),
        ("TirePressureRearRight", 220.0),
    ][wheel];
    vec![("TireWheel", wheel as f64), (name, pressure_kpa)]
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}
