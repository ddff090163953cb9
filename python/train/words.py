"""Word lists of the synthetic world: things (emoji), apps, foods, colours, characters, sign texts."""

# emoji zh measure en[/plural]
_ANIMAL = """🐱 猫 只 cat|🐶 狗 只 dog|🐭 老鼠 只 mouse/mice|🐰 兔子 只 rabbit|🦊 狐狸 只 fox/foxes|🐻 熊 只 bear|🐼 熊猫 只 panda|🐨 考拉 只 koala
🐯 老虎 只 tiger|🦁 狮子 只 lion|🐮 奶牛 头 cow|🐷 猪 头 pig|🐸 青蛙 只 frog|🐵 猴子 只 monkey|🐔 鸡 只 chicken|🐧 企鹅 只 penguin|🐦 小鸟 只 bird
🐤 小鸡 只 chick|🦆 鸭子 只 duck|🦅 老鹰 只 eagle|🦉 猫头鹰 只 owl|🦇 蝙蝠 只 bat|🐺 狼 只 wolf/wolves|🐴 马 匹 horse|🦄 独角兽 只 unicorn|🐝 蜜蜂 只 bee
🐛 毛毛虫 条 caterpillar|🦋 蝴蝶 只 butterfly/butterflies|🐌 蜗牛 只 snail|🐞 瓢虫 只 ladybug|🐜 蚂蚁 只 ant|🕷️ 蜘蛛 只 spider|🦂 蝎子 只 scorpion|🐢 乌龟 只 turtle
🐍 蛇 条 snake|🦎 蜥蜴 只 lizard|🦖 恐龙 只 dinosaur|🐙 章鱼 只 octopus/octopuses|🦑 鱿鱼 只 squid/squid|🦐 虾 只 shrimp/shrimp|🦞 龙虾 只 lobster|🦀 螃蟹 只 crab|🐡 河豚 条 pufferfish/pufferfish
🐠 热带鱼 条 tropical fish/tropical fish|🐟 鱼 条 fish/fish|🐬 海豚 只 dolphin|🐳 鲸鱼 头 whale|🦈 鲨鱼 条 shark|🐊 鳄鱼 条 crocodile|🦓 斑马 匹 zebra|🐘 大象 头 elephant|🦏 犀牛 头 rhino
🐪 骆驼 头 camel|🦒 长颈鹿 只 giraffe|🦘 袋鼠 只 kangaroo|🐏 公羊 只 ram|🐑 绵羊 只 sheep/sheep|🐐 山羊 只 goat|🦌 鹿 头 deer/deer|🦃 火鸡 只 turkey|🦚 孔雀 只 peacock|🦜 鹦鹉 只 parrot
🦢 天鹅 只 swan|🦩 火烈鸟 只 flamingo/flamingos|🦝 浣熊 只 raccoon|🦔 刺猬 只 hedgehog|🐿️ 松鼠 只 squirrel|🐉 龙 条 dragon|🦭 海豹 只 seal|🦥 树懒 只 sloth"""
_FRUIT = """🍎 苹果 个 apple 52|🍐 梨 个 pear 57|🍊 橘子 个 orange 47|🍋 柠檬 个 lemon 29|🍌 香蕉 根 banana 90|🍉 西瓜 块 watermelon 30|🍇 葡萄 串 grape 69|🍓 草莓 个 strawberry/strawberries 32
🍈 甜瓜 个 melon 34|🍒 樱桃 颗 cherry/cherries 50|🍑 桃子 个 peach/peaches 39|🥭 芒果 个 mango/mangoes 60|🍍 菠萝 个 pineapple 50|🥥 椰子 个 coconut 354|🥝 猕猴桃 个 kiwi 61|🫐 蓝莓 颗 blueberry/blueberries 57"""
_VEG = """🍅 番茄 个 tomato/tomatoes 18|🍆 茄子 根 eggplant 25|🥑 牛油果 个 avocado/avocados 160|🥦 西兰花 棵 broccoli/broccoli 34|🥬 青菜 棵 cabbage 13|🥒 黄瓜 根 cucumber 15|🌶️ 辣椒 个 chili pepper 40|🌽 玉米 根 corn/corn 86
🥕 胡萝卜 根 carrot 41|🧄 大蒜 头 garlic/garlic 149|🧅 洋葱 个 onion 40|🥔 土豆 个 potato/potatoes 77|🍠 红薯 个 sweet potato/sweet potatoes 86|🍄 蘑菇 个 mushroom 22|🥗 沙拉 份 salad 35"""
_FOOD = """🍞 面包 片 bread/bread 265|🥐 牛角包 个 croissant 406|🥖 法棍 根 baguette 270|🥨 椒盐卷饼 个 pretzel 380|🥞 松饼 份 pancake 227|🧇 华夫饼 块 waffle 291|🧀 奶酪 块 cheese/cheese 402|🍖 带骨肉 块 meat on the bone/meat 250
🍗 鸡腿 个 chicken leg 230|🥩 牛排 块 steak 271|🥓 培根 片 bacon/bacon 541|🍔 汉堡 个 hamburger 295|🍟 薯条 份 french fries/french fries 312|🍕 披萨 块 pizza 266|🌭 热狗 个 hot dog 290|🥪 三明治 个 sandwich/sandwiches 250
🌮 玉米卷 个 taco/tacos 226|🌯 卷饼 个 burrito/burritos 206|🍳 煎蛋 个 fried egg 196|🥚 鸡蛋 个 egg 143|🍲 火锅 份 hot pot 120|🍿 爆米花 份 popcorn/popcorn 387|🍱 便当 份 bento/bento 180|🍘 米饼 块 rice cracker 392
🍙 饭团 个 rice ball 170|🍚 米饭 碗 rice/rice 116|🍛 咖喱饭 份 curry rice/curry rice 150|🍜 面条 碗 noodles/noodles 110|🍝 意大利面 份 spaghetti/spaghetti 158|🍣 寿司 个 sushi/sushi 143|🥟 饺子 个 dumpling 220|🍤 炸虾 只 fried shrimp/fried shrimp 240
🥠 幸运饼干 个 fortune cookie 378|🍦 冰淇淋 个 ice cream/ice creams 207|🍧 刨冰 份 shaved ice/shaved ice 100|🍩 甜甜圈 个 donut 452|🍪 饼干 块 cookie 488|🎂 生日蛋糕 个 birthday cake 371|🍰 蛋糕 块 cake 371|🧁 纸杯蛋糕 个 cupcake 305
🥧 馅饼 个 pie 237|🍫 巧克力 块 chocolate/chocolate 546|🍬 糖果 颗 candy/candies 394|🍭 棒棒糖 根 lollipop 392|🍮 布丁 个 pudding 130|🍯 蜂蜜 罐 honey/honey 304|🥜 花生 颗 peanut 567"""
_DRINK = """🥛 牛奶 杯 milk/milk 54|☕ 咖啡 杯 coffee/coffee 2|🍵 绿茶 杯 green tea/green tea 1|🍷 红酒 杯 red wine/red wine 85|🍺 啤酒 杯 beer 43|🥤 可乐 杯 soda 42|🧋 奶茶 杯 bubble tea 75|🍼 奶瓶 个 baby bottle 60"""
_VEHICLE = """🚗 汽车 辆 car|🚕 出租车 辆 taxi|🚌 公交车 辆 bus/buses|🚓 警车 辆 police car|🚑 救护车 辆 ambulance|🚒 消防车 辆 fire truck|🚚 卡车 辆 truck|🚜 拖拉机 辆 tractor|🏎️ 赛车 辆 race car
🏍️ 摩托车 辆 motorcycle|🚲 自行车 辆 bicycle|🛴 滑板车 辆 scooter|🚂 火车头 个 locomotive|🚄 高铁 列 high-speed train|✈️ 飞机 架 airplane|🚁 直升机 架 helicopter|🚀 火箭 枚 rocket|🛸 飞碟 个 UFO|⛵ 帆船 艘 sailboat|🚢 轮船 艘 ship|⚓ 船锚 个 anchor"""
_NATURE = """🌞 太阳 个 sun|🌙 月亮 个 moon|⭐ 星星 颗 star|☁️ 云 朵 cloud|🌈 彩虹 道 rainbow|⚡ 闪电 道 lightning bolt|❄️ 雪花 片 snowflake|⛄ 雪人 个 snowman/snowmen|🔥 火 团 fire|💧 水滴 滴 water drop|🌊 海浪 个 wave
🌵 仙人掌 棵 cactus/cactuses|🎄 圣诞树 棵 christmas tree|🌲 松树 棵 pine tree|🌳 大树 棵 tree|🌴 棕榈树 棵 palm tree|🍀 四叶草 株 four-leaf clover|🍁 枫叶 片 maple leaf/maple leaves|🌹 玫瑰 朵 rose|🌻 向日葵 朵 sunflower|🌷 郁金香 朵 tulip|🌸 樱花 朵 cherry blossom|🌍 地球 个 earth|🌋 火山 座 volcano/volcanoes|⛰️ 山 座 mountain"""
_SPORT = """⚽ 足球 个 soccer ball|🏀 篮球 个 basketball|🏈 橄榄球 个 football|⚾ 棒球 个 baseball|🎾 网球 个 tennis ball|🏐 排球 个 volleyball|🎱 台球 个 billiard ball|🏓 乒乓球拍 个 ping-pong paddle|🏸 羽毛球拍 个 badminton racket|🥊 拳击手套 只 boxing glove|🛹 滑板 个 skateboard|🏆 奖杯 个 trophy/trophies|🥇 金牌 枚 gold medal|🎯 靶子 个 target|🎳 保龄球 个 bowling ball|🪁 风筝 只 kite"""
_THING = """📷 相机 台 camera|📱 手机 部 phone|💻 笔记本电脑 台 laptop|⌨️ 键盘 个 keyboard|🖨️ 打印机 台 printer|📺 电视 台 television|📻 收音机 台 radio/radios|🎧 耳机 副 headphones/headphones|🎤 麦克风 个 microphone|🎸 吉他 把 guitar|🎹 钢琴 架 piano/pianos|🎺 小号 把 trumpet|🎻 小提琴 把 violin|🥁 鼓 个 drum
⌚ 手表 块 watch/watches|⏰ 闹钟 个 alarm clock|💡 灯泡 个 light bulb|🔦 手电筒 个 flashlight|🕯️ 蜡烛 根 candle|🔋 电池 节 battery/batteries|🔑 钥匙 把 key|🔒 锁 把 lock|🔨 锤子 把 hammer|🔧 扳手 把 wrench/wrenches|✂️ 剪刀 把 scissors/scissors|📎 回形针 个 paper clip|✏️ 铅笔 支 pencil|🖍️ 蜡笔 支 crayon|📏 尺子 把 ruler
📕 书 本 book|📚 书籍 摞 stack of books/stacks of books|📰 报纸 份 newspaper|📦 箱子 个 box/boxes|✉️ 信封 个 envelope|📅 日历 个 calendar|🗑️ 垃圾桶 个 trash can|🎁 礼物 个 gift|🎈 气球 个 balloon|🎉 彩带 个 party popper|🎀 蝴蝶结 个 bow|🧸 泰迪熊 个 teddy bear|🎮 游戏手柄 个 game controller|🎲 骰子 个 die/dice|🧩 拼图 块 puzzle piece|🎨 调色板 个 palette
👓 眼镜 副 glasses/glasses|🕶️ 墨镜 副 sunglasses/sunglasses|👕 T恤 件 T-shirt|👖 牛仔裤 条 jeans/jeans|👗 连衣裙 条 dress/dresses|🧦 袜子 双 socks/socks|🧤 手套 副 gloves/gloves|🧣 围巾 条 scarf/scarves|🎩 礼帽 顶 top hat|🧢 鸭舌帽 顶 cap|👑 皇冠 顶 crown|👟 运动鞋 只 sneaker|👠 高跟鞋 只 high heel|👢 靴子 只 boot|👜 手提包 个 handbag|🎒 书包 个 backpack|☂️ 雨伞 把 umbrella|💍 戒指 枚 ring|💎 钻石 颗 diamond gem|💄 口红 支 lipstick
🪑 椅子 把 chair|🛋️ 沙发 张 sofa|🛏️ 床 张 bed|🚪 门 扇 door|🚽 马桶 个 toilet|🛁 浴缸 个 bathtub|🧹 扫帚 把 broom|🧺 篮子 个 basket|🧻 卷纸 卷 roll of paper/rolls of paper|🧼 肥皂 块 soap/soap|🔪 菜刀 把 knife/knives|🥄 勺子 把 spoon|🍴 刀叉 副 fork and knife/fork and knife|🥢 筷子 双 chopsticks/chopsticks|🔬 显微镜 台 microscope|🔭 望远镜 架 telescope|💊 药丸 颗 pill|💉 注射器 支 syringe|🧲 磁铁 块 magnet|⚖️ 天平 架 scale|🧭 指南针 个 compass/compasses|🗺️ 地图 张 map|🔔 铃铛 个 bell|🛒 购物车 辆 shopping cart|💰 钱袋 个 money bag|💳 银行卡 张 bank card|🪙 硬币 枚 coin"""
_PLACE = """🏠 房子 座 house|🏫 学校 座 school|🏥 医院 座 hospital|🏰 城堡 座 castle|⛪ 教堂 座 church/churches|🏭 工厂 座 factory/factories|⛺ 帐篷 顶 tent|🎡 摩天轮 座 ferris wheel|🗽 自由女神像 座 Statue of Liberty/Statues of Liberty|🗼 东京塔 座 tower|⛲ 喷泉 座 fountain|🚦 红绿灯 个 traffic light|🛑 停车标志 个 stop sign"""
_FACE = """😀 笑脸 个 smiling face|😭 哭脸 个 crying face|😡 生气的脸 个 angry face|😴 睡觉的脸 个 sleeping face|😎 戴墨镜的脸 个 cool face|🤔 思考的脸 个 thinking face|😍 花痴脸 个 heart-eyes face|🤖 机器人 个 robot|👻 鬼 个 ghost|👽 外星人 个 alien|💀 骷髅 个 skull|🎃 南瓜灯 个 jack-o'-lantern|🤡 小丑 个 clown|👶 婴儿 个 baby/babies|👦 男孩 个 boy|👧 女孩 个 girl|👨 男人 个 man/men|👩 女人 个 woman/women|👴 老爷爷 个 old man/old men|👵 老奶奶 个 old woman/old women|👮 警察 个 police officer|🎅 圣诞老人 个 Santa Claus/Santa Clauses|👍 大拇指 个 thumbs up/thumbs up|❤️ 爱心 个 heart|👀 眼睛 双 pair of eyes/pairs of eyes|👂 耳朵 只 ear|🦷 牙齿 颗 tooth/teeth"""
CATS = dict(
    animal=("动物", "animals", _ANIMAL),
    fruit=("水果", "fruits", _FRUIT),
    veg=("蔬菜", "vegetables", _VEG),
    food=("食物", "food items", _FOOD),
    drink=("饮料", "drinks", _DRINK),
    vehicle=("交通工具", "vehicles", _VEHICLE),
    nature=("自然景物", "nature items", _NATURE),
    sport=("体育用品", "sports items", _SPORT),
    thing=("物品", "things", _THING),
    place=("建筑", "buildings", _PLACE),
    face=("人物", "people", _FACE),
)


class Thing:
    __slots__ = ("i", "emoji", "zh", "mw", "en", "ens", "cat", "kcal", "shape", "color")

    def n_zh(s, n):
        return f"{n}{s.mw}{s.zh}"

    def n_en(s, n):
        return f"{n} {s.en if n == 1 else s.ens}"


THINGS = []
for _c, (_z, _e, _t) in CATS.items():
    for _r in _t.replace("\n", "|").split("|"):
        _p = _r.strip().split(" ")
        t = Thing()
        t.i = len(THINGS)
        t.emoji, t.zh, t.mw = _p[:3]
        t.cat = _c
        t.shape = t.color = None
        t.kcal = None
        if _p[-1].isdigit():
            t.kcal = int(_p[-1])
            _p = _p[:-1]
        en = " ".join(_p[3:])
        t.en, t.ens = en.split("/") if "/" in en else (en, en + "s")
        THINGS.append(t)
NAMES = {t.zh: t for t in THINGS}
COLORS = [
    ("红色", "red", (220, 40, 40)),
    ("橙色", "orange", (245, 140, 30)),
    ("黄色", "yellow", (250, 215, 50)),
    ("绿色", "green", (50, 165, 70)),
    ("青色", "cyan", (60, 205, 215)),
    ("蓝色", "blue", (45, 95, 225)),
    ("紫色", "purple", (140, 60, 190)),
    ("粉色", "pink", (250, 150, 185)),
    ("棕色", "brown", (125, 75, 40)),
    ("黑色", "black", (20, 20, 22)),
    ("白色", "white", (248, 248, 248)),
    ("灰色", "gray", (135, 135, 138)),
]
SHAPES = [
    ("圆形", "circle", 1),
    ("正方形", "square", 0),
    ("三角形", "triangle", 5),
    ("五角星", "five-pointed star", 6),
    ("菱形", "rhombus", 8),
    ("长方形", "rectangle", 10),
    ("椭圆", "oval", 11),
    ("圆环", "ring", 12),
    ("十字", "cross", 13),
    ("六边形", "hexagon", 14),
]
SHAPE_PL = {"cross": "crosses", "rhombus": "rhombuses"}
HEALTHY = {t.zh for t in THINGS if t.cat in ("fruit", "veg") and (t.kcal or 0) < 120} | {"鸡蛋", "牛奶", "绿茶"}
FATTY = {t.zh for t in THINGS if t.kcal and t.kcal >= 200 and t.cat == "food"} | {"可乐", "奶茶", "啤酒", "椰子"}
MEAT = {"带骨肉", "鸡腿", "牛排", "培根", "汉堡", "热狗", "炸虾", "寿司", "玉米卷", "卷饼"}
# apps: zh en icon(emoji zh name or shape)
APPS = """相机 Camera 📷|照片 Photos 🌄|信息 Messages 💬|电话 Phone 📞|邮件 Mail ✉️|日历 Calendar 📅|时钟 Clock ⏰|天气 Weather 🌤️|地图 Maps 🗺️|音乐 Music 🎵|视频 Videos 🎬|设置 Settings ⚙️|备忘录 Notes 📝|计算器 Calculator 🔢|浏览器 Browser 🌐|应用商店 Store 🛍️|文件 Files 📁|通讯录 Contacts 👤|录音机 Recorder 🎤|指南针 Compass 🧭|健康 Health ❤️|钱包 Wallet 💳|游戏 Games 🎮|购物 Shopping 🛒|外卖 Food 🍔|打车 Taxi 🚕|火车票 Trains 🚄|机票 Flights ✈️|酒店 Hotels 🏨|新闻 News 📰|股票 Stocks 📈|翻译 Translate 🔤|阅读 Books 📚|收音机 Radio 📻|手电筒 Torch 🔦|画图 Paint 🎨|运动 Fitness 🏃|聊天 Chat 💭|直播 Live 📺|云盘 Cloud ☁️|家居 Home 🏠|学习 Study 🎓|银行 Bank 🏦|电影 Movies 🎥|词典 Dictionary 📖|咖啡 Coffee ☕|宠物 Pets 🐾|礼品 Gifts 🎁|安全 Security 🔒|电池 Battery 🔋"""
APPS = [tuple(a.split(" ")) for a in APPS.split("|")]
COMMON = """的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过天去能对小多然于心学么之都好看起发当没成只如事把还用第样道想作种开美总从无情己面最女但现前些所同日手又行意动方期它头经长儿回位分爱老因很给名法间斯知世什两次使身者被高已亲其进此话常与活正感见明问力理尔点文几定本公特做外孩相西果走将月十实向声车全信重三机工物气每并别真打太新比才便夫再书部水像眼等体却加电主界门利海受听表德少克代员许稜先口由死安写性马光白或住难望教命花结乐色更拉东神记处让母父应直字场平报友关放至张认接告入笑内英军候民岁往何度山觉路带万男边风解叫任金快原吃妈变通师立象数四失满战远格士音轻目条呢病始达深完今提求清王化空业思切怎非找片罗钱紶吗语元喜曾离飞科言干流欢约各即指合反题必该论交终林请医晚制球决传画保读运及则房早院量苦火布品近坐产答星精视五连司巴奇管类未朋且婚台夜青北队久乎越观落尽形影红爸百令周吧识步希亚术留市半热送兴造谈容极随演收首根讲整式取照办强石古华諣拿计您装似足双妻尼转诉米称丽客南领节衣站黑刻统断福城故历惊脸选包紧争另建维绝树系伤示愿持千史谁准联妇纪基买志静阿诗独复痛消社算义竟确酒需单治卡幸兰念举仅钟怕共毛句息功官待究跟穿室易游程号居考突皮哪费倒价图具刚脑永歌响商礼细专黄块脚味灵改据般破引食仍存众注笔甚某沉血备习校默务土微娘须试怀料调广蜖苏显赛查密议底列富梦错座参八除跑亮假印设线温虽掉京初养香停际致阳纸李纳验助激够严证帝饭忘趣支春集丈木研班普导顿睡展跳获艺六波察群皇段急庭创区奥器谢弟店否害草排背止组州朝封睛板角况曲馆育忙质河续哥呼若推境遇雨标姐充围案伦护冷警贝著雪索剧啊船险烟依斗值帮汉慢佛肯闻唱沙局伯族低玩资屋击速顾泪洲团圣旁堂兵七露园牛哭旅街劳型烈姑陈莫鱼异抱宝权鲁简态级票怪寻杀律胜份汽右洋范床舞秘午登楼贵吸责例追较职属渐左录丝牙党继托赶章智冲叶胡吉卖坚喝肉遗救修松临藏担戏善卫药悲敢靠伊村戴词森耳差短祖云规窗散迷油旧适乡架恩投弹铁博雷府压超负勒杂醒洗采毫嘴毕九冰既状乱景席珍童顶派素脱农疑练野按犯拍征坏骨余承置臓彩灯巨琴免环姆暗换技翻束增忍餐洛塞缺忆判欧层付阵玛批岛项狗休懂武革良恶恋委拥娜妙探呀营退摇弄桌熟诺宣银势奖宫忽套康供优课鸟喊降夏困刘罪亡鞋健模败伴守挥鲜财孤枪禁恐伙杰迹妹藸遍盖副坦牌江顺秋萨菜划授归浪听凡预奶雄升碃编典袋莱含盛济蒙棋端腿招释介烧误"""
_BAD = set("稜紶諣蜖臓藸碃\n ")
COMMON = [c for c in dict.fromkeys(COMMON) if c not in _BAD]
SIGNS = """出口|入口|小心地滑|欢迎光临|禁止吸烟|营业时间|请勿停车|卫生间|安全出口|今日特价|买一送一|热烈欢迎|生日快乐|新年快乐|中秋快乐|恭喜发财|好好学习|天天向上|你好世界|早上好|晚安|谢谢|请稍候|会议室|图书馆|咖啡店|火车站|人民医院|北京大学|上海|广州|深圳|杭州|成都|中国|电话|地址|价格|数量|日期|姓名|密码|登录|注册|搜索|设置|确定|取消|返回|下一步|完成|保存|删除|打印|文件|下载|上传|开始|停止|请排队|小心台阶|保持安静|节约用水|爱护花草|谢谢合作|请随手关门|前方施工|限速六十|开放时间|免费|打折|新品上市|牛肉面|米饭|水饺|豆浆|油条|包子|奶茶|果汁|矿泉水|人工智能|机器学习|数学|语文|英语|物理|化学|历史|第一章|目录|春天来了|明天见|我爱你|加油|平安|快乐|健康|幸福""".split(
    "|"
)
