"""Prepares prompts for the lexicon: one form for each letter, and marks on words that are names."""

import re
import unicodedata

NAME = "\x01"
"""Stands before a word that is part of a name or of a quotation: "Jon \x01Snow", the band "\x01Blur"."""
_TRADITIONAL = (
    "噪點雜訊顆塊壓縮動態霧氣煙陰補銳對焦調亮應該變處理觸編輯麼麽沒無還後會請讓給張這個們圖畫質優強復舊紋"
    "灑線絲條滿細節據顯濾鏡頭輕鬆樣維狀現實際際現時間開關關於難過頭髮顏樹鄉風鳥魚車門問間聞單雙邊"
    "裡裏為與並從來錯誤認識說話語讀寫書畫數據學習業務員貓狗臉塵雲電腦機場檔網頁點擊號碼龍馬驚喜歡樂"
    "飛灣島嶼歲幾載遠輪廓齊韓國華東協備註幫減緩釋獨幹嗎別損壞傷缺圓長寬顧慮兒孫媽爺婚禮節慶"
    "擋遮濃淡殘壯瀏覽適當結構紙舊雖區齡廢棄鐵錢買賣週末設計啟動換掃描靜夠敗歷雜銀鑽響標題籤擾糾纏暈氳囪搖"
)
_SIMPLIFIED = (
    "噪点杂讯颗块压缩动态雾气烟阴补锐对焦调亮应该变处理触编辑么么没无还后会请让给张这个们图画质优强复旧纹"
    "洒线丝条满细节据显滤镜头轻松样维状现实际际现时间开关关于难过头发颜树乡风鸟鱼车门问间闻单双边"
    "里里为与并从来错误认识说话语读写书画数据学习业务员猫狗脸尘云电脑机场档网页点击号码龙马惊喜欢乐"
    "飞湾岛屿岁几载远轮廓齐韩国华东协备注帮减缓释独干吗别损坏伤缺圆长宽顾虑儿孙妈爷婚礼节庆"
    "挡遮浓淡残壮浏览适当结构纸旧虽区龄废弃铁钱买卖周末设计启动换扫描静够败历杂银钻响标题签扰纠缠晕氲囱摇"
)
_ONE_FORM = str.maketrans(
    _TRADITIONAL + "別沈濕溫淨勻羣鬧聲暫裝擴殺闆",
    _SIMPLIFIED + "别沉湿温净匀群闹声暂装扩杀板",
) | str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "ʼ": "'", "‑": "-", "‐": "-", "ı": "i", "ł": "l", "ø": "o"})
MOST = 0.4
"""Of a text's words, so many are in lower case where a capital says something."""
_ACCENTS = re.compile("[\u0300-\u036f]+")
_QUOTES = re.compile('["“”„«»「」『』]')
_QUOTED = re.compile(
    '"[^"\n]{1,60}"|“[^“”\n]{1,60}[”“]|„[^“”\n]{1,60}[“”]|«[^«»\n]{1,60}»|「[^」\n]{1,40}」|『[^』\n]{1,40}』'
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def normalized(text: str) -> str:
    """Returns the text in lower case, without accents, in simplified Chinese characters, with single spaces."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed)).translate(_ONE_FORM)
    return re.sub(r"[^\S\n]+", " ", plain).strip()


def with_names_marked(text: str) -> str:
    """Returns the text with a mark before each word that is probably (part of) a name: quoted, or capitalized midway.

    A text in capitals, or with a capital at most words, has no such marks.
    """
    text = re.sub(r"\b(Mr|Mrs|Ms|Dr|St)\.", r"\1", text.replace(NAME, " "))
    words = _WORD.findall(text)
    lower = sum(word[:1].islower() for word in words)
    if lower >= MOST * len(words):
        text = re.sub(r"(?<=[\w,] )(?=[^\W\d_]\w)", lambda at: NAME if _capitalized(text[at.start() :]) else "", text)
    if _QUOTED.sub("", text).strip(" .,!?。，！？"):
        text = _QUOTED.sub(lambda quote: _WORD.sub(lambda word: NAME + word[0], quote[0].replace(NAME, "")), text)
    return _QUOTES.sub(" ", text)


def _capitalized(text: str) -> bool:
    return text[0].isupper() and text[1].islower()
