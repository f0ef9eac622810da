"""Frequent small words, word endings and telling letters of each language that shares its script with another.

Written by hand. What several languages have says less for each of them (see detect.py).
"""

WORDS: dict[str, str] = {
    "en": (
        "the of and to in is it that for on with as was are be this by at from or an have not which you he she "
        "they we his her their its were has had but all can will would there what when who how more if so than "
        "them been do does also because should these into only other some my your our then out up about after "
        "each no between must i a could where here why let use used using both since while such first per"
    ),
    "de": (
        "der die das und ist nicht ein eine einen einem einer des dem den mit von zu im auf für sich auch als "
        "wird werden sind war wenn aber oder wie nach bei aus um hat haben ich du er sie es wir ihr kann können "
        "nur noch durch über dass weil diese dieser dieses man sein zum zur vor am keine kein mehr sehr so was "
        "wurde unter muss bis ohne"
    ),
    "fr": (
        "le la les des un une et est en que qui dans pour pas sur au aux avec ce cette ces il elle ils nous vous "
        "je ne se son sa ses par plus ou mais comme sont être été du de à a ont leur leurs fait peut où donc si "
        "tout très sans même aussi entre deux cela c'est d'un d'une l'on qu'il n'est lors après avant votre vos "
        "mon notre"
    ),
    "es": (
        "el la los las de que y en un una es por con para no se del al lo como más pero su sus le ya o este esta "
        "estos porque cuando muy sin sobre también me hasta hay donde quien desde todo nos durante uno ni contra "
        "ese eso entre ser son fue era está están puede tiene si él ella yo mi tu usted nosotros hacer cada así"
    ),
    "pt": (
        "o a os as de que e do da dos das em um uma para com não por mais se na no nas nos como mas foi ao aos "
        "ele ela são ser está estão também pode tem você seu sua seus suas isso este esta esse essa quando muito "
        "já eu nós pelo pela até só entre depois sem mesmo ou ter à às porque então cada foram era há"
    ),
    "it": (
        "il lo la i gli le di che e è un una uno in per con non si da del della dei delle degli al alla ai alle "
        "nel nella sono come più ma anche se o ha hanno questo questa questi queste quando essere stato dal dalla "
        "sul sulla io noi lui lei loro suo sua perché così cui dove può ogni tra fra tutti molto c'è l'altro "
        "prima dopo"
    ),
    "nl": (
        "de het een en van in is dat op te zijn voor met die niet aan er om ook als bij maar of uit dan door naar "
        "heeft hebben wordt worden was kan deze dit je ik hij zij we wij u over zo nog wel geen meer al zou moet "
        "tot hun haar hem mijn omdat wanneer werd waar veel kunnen"
    ),
    "sv": (
        "och i att det som en på är av för med till den har de inte om ett han men var jag från vi man kan så när "
        "eller vid också efter ut där ska skulle vara hon sig sin sitt dem du mycket bara alla mot än nu blir "
        "detta denna här hur får måste mellan utan många"
    ),
    "da": (
        "og i at det er en til af på for med den der ikke som har de et om men var han jeg vi fra kan så når "
        "eller også efter ud skal skulle være hun sig sin dem du meget kun alle mod nu bliver dette denne her "
        "hvor hvis må mellem uden mange blev hvad dig mig noget ind"
    ),
    "no": (
        "og i å det er en til av på for med den som ikke har de et om men var han jeg vi fra kan så når eller "
        "også etter ut skal skulle være hun seg sin dem du mye bare alle mot nå blir dette denne her hvor hvis må "
        "mellom uten mange ble hva deg meg noe inn fordi"
    ),
    "fi": (
        "ja on ei se että ole oli hän joka mutta tai kun niin myös jos ovat kuin sen siitä ne tämä voi olla mitä "
        "minä sinä me he joita jotka vain niitä nyt sitä kaikki tämän sekä ovatko eikä koska mukaan jälkeen "
        "kanssa ennen tässä enemmän vielä voidaan pitää ollut hyvin jossa jonka"
    ),
    "pl": (
        "i w na z do się nie to że jest o jak za od po ale przez co czy tak dla przy może są być był była było "
        "już tylko lub który która które tego tej tym jego jej ich ten ta te oraz gdy jako bardzo mnie ja ty on "
        "ona my wy więc pod ma mają można ze także jeśli"
    ),
    "cs": (
        "a v na je se že to s z do o ve za po ale pro jako by jsou si od byl byla bylo nebo který která které tak "
        "už jen není být k i při také jsem jsme když co jak aby toho tento tato toto jeho její jejich má mají "
        "může velmi než až podle však není pokud kde"
    ),
    "sk": (
        "a v na je sa že to s z do o vo za po ale pre ako by sú si od bol bola bolo alebo ktorý ktorá ktoré tak "
        "už len nie je byť k i pri tiež som sme keď čo aby toho tento táto toto jeho jej ich má majú môže veľmi "
        "než až podľa však nie ak kde"
    ),
    "hu": (
        "a az és hogy nem is egy van meg ez azt de ha csak már volt mint vagy ami még el ki be fel mert kell "
        "lehet minden sem ezt nagyon majd lesz voltak vannak én te ő mi ők aki amely pedig így akkor után szerint "
        "között több azonban illetve ezek azok hanem"
    ),
    "ro": (
        "și în de la a cu pe nu este o un că din se pentru care mai sunt ca au fost sau dar prin după lui ei său "
        "sa acest această acesta fi ce am ai are al ale fiind foarte când unde dacă doar între fără eu tu el ea "
        "noi voi asupra trebuie poate toate toți lor"
    ),
    "tr": (
        "ve bir bu da de için ile olarak daha çok en gibi olan ne ama veya kadar sonra var değil mi ben sen o biz "
        "siz onlar olduğu her şey ki diye ya hem ise göre tarafından olduğunu ancak oldu önce bunu şu nasıl neden "
        "çünkü yok sadece olabilir edilir ettiği"
    ),
    "id": (
        "yang dan di dari ini itu untuk dengan tidak adalah pada dalam akan ke ada atau juga oleh sebagai dapat "
        "mereka kami kita saya anda dia telah sudah lebih bisa karena seperti tersebut bahwa jika hanya satu "
        "banyak setelah saat antara harus lain sangat belum tetapi masih"
    ),
    "vi": (
        "và của là có được trong cho không với các một những này đã khi để người ở tôi bạn thì từ như đó cũng về "
        "nhiều vào ra nếu sẽ hay hoặc phải lại trên bị đến làm rất còn chỉ vì sau do thể tại nên theo chúng họ"
    ),
    "ca": (
        "el la els les de que i en un una és per amb no es del al ho com més però seu seva aquest aquesta aquests "
        "perquè quan molt sense sobre també fins hi ha on des tot entre són ser va han pot si jo tu ell ella "
        "nosaltres dels als pel cada així això"
    ),
    "hr": (
        "i u je na da se su za s od o ne što kao koji koja koje ili to bi nije ali samo ako kada sam smo biti bio "
        "bila bilo te iz po do može mogu također između nakon prije već vrlo jer kako tako ovaj ova ovo njegov "
        "njihov ja ti on ona mi vi oni sve"
    ),
    "sl": (
        "in je na da se so za s z od o ne kot ki ali to bi ni pa le če ko sem smo biti bil bila bilo ter iz po do "
        "lahko tudi med pred že zelo ker kako tako ta tega njegov njihov jaz ti on ona mi vi oni vse kar pri"
    ),
    "et": (
        "ja on ei see et kui mis oma ka ta seda aga või selle oli nii siis ning kes nende olid mida välja pole "
        "saab võib olla ma sa me te nad peab veel kus väga pärast enne mitte kõik need ainult sest juba üks kuid"
    ),
    "lt": (
        "ir yra kad su į iš tai kaip bet ar ne jis ji jie mes jūs aš tu po už apie nuo iki buvo būti gali labai "
        "tik jau kuris kuri kurie šis ši šie pagal dėl prie kai nes arba taip pat dar savo turi reikia jei"
    ),
    "lv": (
        "un ir ka ar no tas kā bet vai nav viņš viņa mēs jūs es tu pēc par uz līdz bija būt var ļoti tikai jau "
        "kas kurš kura šis šī šie pie kad jo arī vēl savu nevar lai tā to tiek gan"
    ),
    "ru": (
        "и в не на я что он с как это по но они к у мы вы же за от из то все так его ее их для при если или когда "
        "был была было были быть может только уже также который которая которые после до этот эта эти чтобы между "
        "есть нет можно более очень"
    ),
    "uk": (
        "і в не на я що він з як це по але вони до у ми ви же за від із то все так його її їх для при якщо або "
        "коли був була було були бути може тільки вже також який яка які після цей ця ці щоб між є немає можна "
        "більше дуже та й під"
    ),
    "bg": (
        "и в не на аз че той с като това по но те към у ние вие за от из то всичко така го я ги за при ако или "
        "когато беше бяха бъде може само вече също който която които след до този тази тези между е са няма "
        "повече много да се ще ли си със"
    ),
    "sr": (
        "и у не на ја што он с као то по али они ми ви за од из све тако га је их при ако или када био била било "
        "бити може само већ такође који која које после до овај ова ове између су нема више врло да се ће са није"
    ),
    "ar": (
        "في من على أن إلى هذا هذه التي الذي ما لا عن مع كان كانت هو هي أو ثم قد كل بعد قبل بين حيث إذا ذلك تلك لم "
        "لن كما عند غير أي و إن يكون يمكن"
    ),
    "fa": (
        "در از به که این آن را با است برای و می یک تا بر هم ها های شد شده نیز اما یا خود بود اگر هر ما من شما او "
        "آنها باید کند کرد نیست چون وجود دارد"
    ),
    "ur": (
        "میں کے کی کا ہے اور سے کو نے پر یہ وہ ہیں کہ جو بھی ایک نہیں تو کر تھا تھی تھے ہو گیا اس ان ہم آپ لیے "
        "ساتھ یا اگر کیا بعد"
    ),
    "hi": (
        "है के में की और का को से पर यह नहीं हैं कि भी एक तो जो कर था थी थे हो गया इस उस हम आप लिए साथ या अगर "
        "क्या बाद ने वह होता करने"
    ),
    "mr": (
        "आहे आणि च्या मध्ये ही हे हा तो ती ते नाही आहेत की पण एक या त्या होते होता होती करून साठी वर तर जर मी आपण तुम्ही म्हणून असे केले"
    ),
    "ne": ("छ र को मा लाई ले यो त्यो छन् हो भने पनि एक गर्न हुन् थियो भएको गरेको तपाईं हामी म यस तर वा लागि बाट सँग हुन्छ"),
}
"""Words that hardly any text of the language goes without."""

ENDINGS: dict[str, str] = {
    "en": "ing tion tions ed ly ment ness ity able ful less ght ould self",
    "de": "ung ungen lich keit heit isch icht eln tzt rden en et",
    "fr": "tion tions ment eur eux ique ées aux oir ère age ez ent",
    "es": "ción ciones ado ada mente dad ente ando iendo ados ibles os as",
    "pt": "ção ções mente dade ado ada ente ndo eiro ável íveis os as",
    "it": "zione zioni mente ità ato ata ente are ere ire ggio ello gli ni",
    "nl": "ing heid lijk ijk oor aar elijke isch tie ties aan oek",
    "sv": "ning ningen ande arna erna igt else ades ats ska het",
    "da": "ning else erne ende et ede elsen hed gt",
    "no": "ning else ene ende et ert elsen het kke inger",
    "fi": (
        "ssa ssä sta stä lla llä lta ksi inen isen iin een aan uus ttä tta tty ttu ään vat vät nen mme iden den "
        "nnan nan hin lle tte"
    ),
    "pl": "ów anie enie ych ego ości ość ami owy nej cji cja sz ać ić",
    "cs": "ní ého ých ost ání ení ové ovat ém ím át ila at",
    "sk": "nie ého ých osť anie enie ové ovať om iť ať ia ť",
    "hu": "ás és ban ben nak nek ság ség hoz ból ről tt ott ett ra re at et ok ek",
    "ro": "ul ului ea ele are ire ție ții at ată ilor esc ier",
    "tr": "lar ler ların lerin dır dir mak mek ları leri yor di ın in ma me de",
    "id": "kan nya an aan i mpun gai kai",
    "ca": "ció cions itat ment ar ixer ès ats ades tge ns",
    "hr": "nje nja ost osti ima anje iti ati ovati ije iju eni nog ao la",
    "sl": "nje nja ost osti anje iti ati ega emu ih imi jo ev ov ni no čen",
    "et": "mine mise ud ga ks st le tud da takse sid nud ei ist us ait",
    "lt": "as is us os ti imas mas ų ių oje iai ai ės tas ta yti",
    "lv": "šana šanas iem ām as is ēt āt u ot ums umu ījā ts",
    "ru": "ть ый ого ение ения ость ия ий ые ся ться ет ов ать ных",
    "uk": "ти ий ого ення ість ія ії их ся ться є ів ати ні ної",
    "bg": "ите ата ото ане ение ва ия ият та то ния ат",
    "sr": "ње ња ост ити ати ије има ју ог ем ена ма ка",
}
"""How its longer words like to end."""

LETTERS: dict[str, str] = {
    "de": "ßäöü",
    "fr": "çœèêëàâîïôûùé",
    "es": "ñáéíóú¿¡",
    "pt": "ãõçáéíóúâêô",
    "it": "àèìòùé",
    "nl": "ë",
    "sv": "åäö",
    "da": "åæø",
    "no": "åæø",
    "fi": "äö",
    "pl": "łąęśżźćńó",
    "cs": "řěůčšžýáíéťďň",
    "sk": "ľĺŕôäčšžýáíéúťďň",
    "hu": "őűáéíóöúü",
    "ro": "ășțâîşţ",
    "tr": "ğışçöü",
    "vi": "ăâđêôơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "ca": "çàèéíòóúï·",
    "hr": "čćđšž",
    "sl": "čšž",
    "et": "õäöü",
    "lt": "ėįųąęūčšž",
    "lv": "āēīūķļņģčšž",
    "ru": "ыэёъ",
    "uk": "іїєґ",
    "bg": "ъщ",
    "sr": "ђјљњћџ",
    "ar": "ةىأإ",
    "fa": "پچژگیک",
    "ur": "ٹڈڑںےہھگپچی",
    "mr": "ळ",
}
"""Letters beyond a to z that it has and most of its neighbours lack."""
