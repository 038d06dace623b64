kill1 () 
{ 
    $N $R refine $SY --out out --model $MM --provider cpu $CHK $X --batch-size 1 --workers 1 > r1.o 2> r1.e & local p=$!;
    while kill -0 $p 2> /dev/null; do
        n=$(cat out/.refinery/manifest.jsonl 2> /dev/null | wc -l);
        [ $n -ge $1 ] && break;
        sleep 0.01;
    done;
    kill -9 $p 2> /dev/null;
    wait $p 2> /dev/null;
    echo "  killed with $(wc -l < out/.refinery/manifest.jsonl) lines"
}
big () 
{ 
    base;
    for i in 1 2 3 4 5 6 7;
    do
        for f in in/00??.png;
        do
            k=$(basename $f .png);
            cp $f in/$i$k.png;
            cp in/$k.json in/$i$k.json;
        done;
    done
}
