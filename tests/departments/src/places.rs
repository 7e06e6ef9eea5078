//! Tables of places: real county-level divisions (GB/T 2260), invented streets.

use crate::random::Random;

/// A county-level division.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Six digits of GB/T 2260.
    pub division: &'static str,
    /// Its name from the province down.
    pub name: &'static str,
    /// Postal code.
    pub postcode: &'static str,
}

/// One of the divisions.
pub(crate) fn place(random: &mut Random) -> &'static Place {
    random.pick(PLACES)
}

/// An address in a division that nobody lives at.
pub(crate) fn address(random: &mut Random, place: &Place) -> String {
    let street = random.pick(STREETS);
    let number = random.between(1, 899);
    let building = random.between(1, 28);
    let room = random.between(1, 24) * 100 + random.between(1, 4);
    format!("{}{street}{number}号{building}幢{room}室", place.name)
}

const STREETS: &[&str] = &[
    "样例路",
    "虚构街",
    "测试巷",
    "示范路",
    "样本街",
    "假设路",
    "模拟街",
    "演示巷",
    "无名路",
    "例证街",
];

const fn at(division: &'static str, name: &'static str, postcode: &'static str) -> Place {
    Place { division, name, postcode }
}

const PLACES: &[Place] = &[
    at("110101", "北京市东城区", "100010"),
    at("110102", "北京市西城区", "100032"),
    at("110105", "北京市朝阳区", "100020"),
    at("110106", "北京市丰台区", "100071"),
    at("110108", "北京市海淀区", "100089"),
    at("110112", "北京市通州区", "101149"),
    at("310101", "上海市黄浦区", "200001"),
    at("310104", "上海市徐汇区", "200030"),
    at("310105", "上海市长宁区", "200050"),
    at("310106", "上海市静安区", "200040"),
    at("310110", "上海市杨浦区", "200082"),
    at("310115", "上海市浦东新区", "200135"),
    at("310115", "上海市浦东新区", "201203"),
    at("320102", "江苏省南京市玄武区", "210018"),
    at("320104", "江苏省南京市秦淮区", "210001"),
    at("320105", "江苏省南京市建邺区", "210004"),
    at("320106", "江苏省南京市鼓楼区", "210009"),
    at("320115", "江苏省南京市江宁区", "211100"),
    at("320505", "江苏省苏州市虎丘区", "215004"),
    at("320506", "江苏省苏州市吴中区", "215128"),
    at("320507", "江苏省苏州市相城区", "215131"),
    at("320508", "江苏省苏州市姑苏区", "215031"),
    at("320509", "江苏省苏州市吴江区", "215200"),
    at("330102", "浙江省杭州市上城区", "310002"),
    at("330105", "浙江省杭州市拱墅区", "310011"),
    at("330106", "浙江省杭州市西湖区", "310013"),
    at("330108", "浙江省杭州市滨江区", "310051"),
    at("330110", "浙江省杭州市余杭区", "311121"),
    at("440103", "广东省广州市荔湾区", "510170"),
    at("440104", "广东省广州市越秀区", "510030"),
    at("440105", "广东省广州市海珠区", "510300"),
    at("440106", "广东省广州市天河区", "510665"),
    at("440303", "广东省深圳市罗湖区", "518001"),
    at("440304", "广东省深圳市福田区", "518033"),
    at("440305", "广东省深圳市南山区", "518052"),
];
