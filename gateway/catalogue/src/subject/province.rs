//! Province-level divisions of GB/T 2260-2007.

/// A province-level division.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Province {
    /// The first two digits of every division code within it.
    pub prefix: &'static str,
    /// English name.
    pub name_en: &'static str,
    /// Chinese name, the short form of the standard.
    pub name_zh: &'static str,
}

/// True if the text begins with the two digits of a province.
pub(super) fn is_province(division: &str) -> bool {
    division
        .get(..2)
        .is_some_and(|prefix| PROVINCES.iter().any(|province| province.prefix == prefix))
}

const fn province(prefix: &'static str, name_en: &'static str, name_zh: &'static str) -> Province {
    Province { prefix, name_en, name_zh }
}

/// Every province-level division of GB/T 2260, in the order of its code.
pub const PROVINCES: [Province; 34] = [
    province("11", "Beijing", "北京"),
    province("12", "Tianjin", "天津"),
    province("13", "Hebei", "河北"),
    province("14", "Shanxi", "山西"),
    province("15", "Inner Mongolia", "内蒙古"),
    province("21", "Liaoning", "辽宁"),
    province("22", "Jilin", "吉林"),
    province("23", "Heilongjiang", "黑龙江"),
    province("31", "Shanghai", "上海"),
    province("32", "Jiangsu", "江苏"),
    province("33", "Zhejiang", "浙江"),
    province("34", "Anhui", "安徽"),
    province("35", "Fujian", "福建"),
    province("36", "Jiangxi", "江西"),
    province("37", "Shandong", "山东"),
    province("41", "Henan", "河南"),
    province("42", "Hubei", "湖北"),
    province("43", "Hunan", "湖南"),
    province("44", "Guangdong", "广东"),
    province("45", "Guangxi", "广西"),
    province("46", "Hainan", "海南"),
    province("50", "Chongqing", "重庆"),
    province("51", "Sichuan", "四川"),
    province("52", "Guizhou", "贵州"),
    province("53", "Yunnan", "云南"),
    province("54", "Tibet", "西藏"),
    province("61", "Shaanxi", "陕西"),
    province("62", "Gansu", "甘肃"),
    province("63", "Qinghai", "青海"),
    province("64", "Ningxia", "宁夏"),
    province("65", "Xinjiang", "新疆"),
    province("71", "Taiwan", "台湾"),
    province("81", "Hong Kong", "香港"),
    province("82", "Macao", "澳门"),
];
