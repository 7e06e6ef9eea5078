//! Tables of names. Any person they make up is nobody.

use crate::person::{Name, Sex};
use crate::random::Random;

/// A name of its own, with the family name given or drawn.
pub(crate) fn name(random: &mut Random, sex: Sex, family: Option<&Written>) -> Name {
    let family = match family {
        Some(family) => family,
        None => surname(random),
    };
    let table = match sex {
        Sex::Male => GIVEN_MALE,
        Sex::Female => GIVEN_FEMALE,
    };
    let (first, second) = (random.pick(table), random.pick(table));
    // About one given name in six has one character.
    let given: &[&Written] = if random.chance(16) { &[first] } else { &[first, second] };
    let given_hanzi: String = given.iter().map(|part| part.0).collect();
    let given_pinyin: String = given.iter().map(|part| part.1).collect();
    Name {
        full: format!("{}{given_hanzi}", family.0),
        romanized: format!("{} {}", family.1, given_pinyin).to_uppercase(),
        family: family.0.into(),
        given: given_hanzi,
        former: None,
    }
}

/// A family name, as often as it is met.
pub(crate) fn surname(random: &mut Random) -> &'static Written {
    let total: u64 = SURNAMES.iter().map(|(_, weight)| weight).sum();
    let mut drawn = random.below(total);
    for (written, weight) in SURNAMES {
        if drawn < *weight {
            return written;
        }
        drawn -= weight;
    }
    &SURNAMES[0].0
}

/// Characters and their pinyin without tones.
pub(crate) struct Written(pub &'static str, pub &'static str);

/// The sixty most frequent family names, each with its rough share per ten thousand people.
const SURNAMES: &[(Written, u64)] = &[
    (Written("王", "wang"), 717),
    (Written("李", "li"), 717),
    (Written("张", "zhang"), 677),
    (Written("刘", "liu"), 513),
    (Written("陈", "chen"), 449),
    (Written("杨", "yang"), 330),
    (Written("黄", "huang"), 239),
    (Written("赵", "zhao"), 204),
    (Written("吴", "wu"), 195),
    (Written("周", "zhou"), 190),
    (Written("徐", "xu"), 145),
    (Written("孙", "sun"), 138),
    (Written("马", "ma"), 130),
    (Written("朱", "zhu"), 126),
    (Written("胡", "hu"), 118),
    (Written("郭", "guo"), 117),
    (Written("何", "he"), 111),
    (Written("林", "lin"), 110),
    (Written("高", "gao"), 108),
    (Written("罗", "luo"), 104),
    (Written("郑", "zheng"), 98),
    (Written("梁", "liang"), 94),
    (Written("谢", "xie"), 88),
    (Written("宋", "song"), 85),
    (Written("唐", "tang"), 83),
    (Written("许", "xu"), 79),
    (Written("韩", "han"), 77),
    (Written("邓", "deng"), 74),
    (Written("冯", "feng"), 72),
    (Written("曹", "cao"), 69),
    (Written("彭", "peng"), 67),
    (Written("曾", "zeng"), 65),
    (Written("肖", "xiao"), 63),
    (Written("田", "tian"), 62),
    (Written("董", "dong"), 60),
    (Written("潘", "pan"), 58),
    (Written("袁", "yuan"), 57),
    (Written("蔡", "cai"), 55),
    (Written("蒋", "jiang"), 54),
    (Written("余", "yu"), 53),
    (Written("于", "yu"), 52),
    (Written("杜", "du"), 51),
    (Written("叶", "ye"), 50),
    (Written("程", "cheng"), 49),
    (Written("魏", "wei"), 48),
    (Written("苏", "su"), 47),
    (Written("吕", "lyu"), 46),
    (Written("丁", "ding"), 45),
    (Written("任", "ren"), 44),
    (Written("卢", "lu"), 43),
    (Written("姚", "yao"), 42),
    (Written("沈", "shen"), 41),
    (Written("钟", "zhong"), 40),
    (Written("姜", "jiang"), 39),
    (Written("崔", "cui"), 38),
    (Written("谭", "tan"), 37),
    (Written("陆", "lu"), 36),
    (Written("范", "fan"), 35),
    (Written("汪", "wang"), 34),
    (Written("廖", "liao"), 33),
];

const GIVEN_MALE: &[Written] = &[
    Written("伟", "wei"),
    Written("强", "qiang"),
    Written("军", "jun"),
    Written("勇", "yong"),
    Written("杰", "jie"),
    Written("涛", "tao"),
    Written("明", "ming"),
    Written("超", "chao"),
    Written("刚", "gang"),
    Written("平", "ping"),
    Written("辉", "hui"),
    Written("鹏", "peng"),
    Written("华", "hua"),
    Written("飞", "fei"),
    Written("鑫", "xin"),
    Written("波", "bo"),
    Written("斌", "bin"),
    Written("宇", "yu"),
    Written("浩", "hao"),
    Written("凯", "kai"),
    Written("健", "jian"),
    Written("俊", "jun"),
    Written("帆", "fan"),
    Written("志", "zhi"),
    Written("建", "jian"),
    Written("国", "guo"),
    Written("文", "wen"),
    Written("子", "zi"),
    Written("轩", "xuan"),
    Written("然", "ran"),
    Written("博", "bo"),
    Written("晨", "chen"),
];

const GIVEN_FEMALE: &[Written] = &[
    Written("芳", "fang"),
    Written("娜", "na"),
    Written("敏", "min"),
    Written("静", "jing"),
    Written("丽", "li"),
    Written("艳", "yan"),
    Written("娟", "juan"),
    Written("霞", "xia"),
    Written("秀", "xiu"),
    Written("燕", "yan"),
    Written("玲", "ling"),
    Written("桂", "gui"),
    Written("丹", "dan"),
    Written("萍", "ping"),
    Written("红", "hong"),
    Written("玉", "yu"),
    Written("兰", "lan"),
    Written("英", "ying"),
    Written("梅", "mei"),
    Written("琳", "lin"),
    Written("婷", "ting"),
    Written("雪", "xue"),
    Written("倩", "qian"),
    Written("颖", "ying"),
    Written("洁", "jie"),
    Written("欣", "xin"),
    Written("怡", "yi"),
    Written("雨", "yu"),
    Written("涵", "han"),
    Written("诗", "shi"),
    Written("佳", "jia"),
    Written("慧", "hui"),
];
