// A 16-bit SDRAM of 4 banks x 8192 rows x 512 columns (32 MB) as its pins show it, with its rules as
// checks: a command that the chip would not obey ends the simulation with the rule. Zero delay: what
// the chip samples at an edge is what the controller drove at the edge before.
// Its contents are a file that is mapped into the process (sdram.cpp).
// Ref: Micron MT48LC16M16A2 data sheet, "Commands", "Operations", tables of timings (speed -7E).

module sdram #(
    parameter real PERIOD_NS = 10.0
) (
    input  logic        clk, cke, cs_n, ras_n, cas_n, we_n,
    input  logic [1:0]  ba,
    input  logic [12:0] a,
    input  logic [1:0]  dm,
    inout  wire  [15:0] dq
);
    import "DPI-C" function int unsigned sdram_read(input int unsigned word);
    import "DPI-C" function void sdram_write(input int unsigned word, input int unsigned data,
                                             input int unsigned mask);

    function automatic int cycles(real ns);
        cycles = $rtoi($ceil(ns / PERIOD_NS));
    endfunction
    localparam int T_RP = cycles(15.0), T_RCD = cycles(15.0), T_RAS = cycles(37.0),
                   T_RC = cycles(60.0), T_RFC = cycles(66.0), T_RRD = cycles(14.0),
                   T_WR = 1 + cycles(7.0), T_MRD = 2, T_POWER_UP = cycles(100_000.0);
    // 8192 refreshes in 64 ms; a controller may put off a few.
    localparam int T_REFRESH = 9 * cycles(7_812.5);

    typedef enum logic [2:0] {
        MODE, REFRESH, PRECHARGE, ACTIVATE, WRITE, READ, STOP, NOP
    } command_t;

    longint now, ready, refreshed;           // of the chip: when it takes the next command
    longint activated[4], written[4], free[4];  // by bank
    logic   open[4], auto_precharge[4];
    logic [12:0] row[4];
    int     burst_length, latency, refreshes;

    // The transfer under way, and what it has put into the pipeline of the outputs.
    logic        reading, writing;
    logic [1:0]  bank;
    logic [8:0]  column;
    int          beat;
    logic [15:0] pipeline[3], q;
    logic [2:0]  driven;
    logic        q_driven = 0;

    assign dq = q_driven ? q : 16'bz;

    task automatic must(bit rule, string text);
        if (!rule) $fatal(1, "SDRAM, cycle %0d: %s", now, text);
    endtask

    task automatic close(int which);
        if (open[which]) begin
            must(now - activated[which] >= T_RAS, "a row must stay open for tRAS");
            must(now - written[which] >= T_WR, "a row must stay open for tWR after a write");
            free[which] = now + T_RP;
        end
        open[which] = 0;
    endtask

    function automatic int unsigned word();
        // a burst wraps inside its own block
        logic [8:0] wrapped;
        wrapped = (column & ~9'(burst_length - 1)) | (9'(column + 9'(beat)) & 9'(burst_length - 1));
        word = 32'({row[bank], bank, wrapped});
    endfunction

    initial begin
        now = 0; ready = 0; refreshed = 0; refreshes = 0; burst_length = 0; latency = 0;
        reading = 0; writing = 0; driven = 0; beat = 0; bank = 0; column = 0;
        for (int i = 0; i < 4; i++) begin
            open[i] = 0; auto_precharge[i] = 0; row[i] = 0;
            activated[i] = -1000; written[i] = -1000; free[i] = 0;
        end
    end

    always_ff @(posedge clk) begin
        automatic command_t command = cs_n || !cke ? NOP : command_t'({ras_n, cas_n, we_n});
        now = now + 1;
        must(command == NOP || now >= ready, "a command must wait for the one before");

        case (command)
            MODE: begin
                must(now >= T_POWER_UP, "commands must wait 100 us from power-up");
                must(!(open[0] || open[1] || open[2] || open[3]), "MODE needs all banks closed");
                must(a[3] == 0 && a[2:0] <= 3, "bursts must be sequential, of 1 to 8 words");
                must(a[6:4] == 2 || a[6:4] == 3, "the CAS latency must be 2 or 3");
                burst_length = 1 << a[2:0];
                latency = 32'(a[6:4]);
                must(PERIOD_NS >= (latency == 2 ? 7.5 : 7.0),
                     "the clock must not be faster than 133 MHz for CAS latency 2");
                ready = now + T_MRD;
            end
            REFRESH: begin
                for (int i = 0; i < 4; i++)
                    must(!open[i] && now >= free[i], "REFRESH needs all banks closed for tRP");
                refreshes = refreshes + 1;
                refreshed = now;
                ready = now + T_RFC;
            end
            PRECHARGE: begin
                for (int i = 0; i < 4; i++) if (a[10] || ba == 2'(i)) begin
                    close(i);
                    if (bank == 2'(i)) {reading, writing} = 0;
                end
            end
            ACTIVATE: begin
                must(refreshes >= 2 && burst_length != 0,
                     "rows must wait for two refreshes and the mode register");
                must(!open[ba], "a bank must be closed before it opens a row");
                must(now >= free[ba], "a bank must be closed for tRP before it opens a row");
                must(now - activated[ba] >= T_RC, "rows of a bank must be tRC apart");
                for (int i = 0; i < 4; i++)
                    must(now - activated[i] >= T_RRD, "rows of two banks must be tRRD apart");
                open[ba] = 1;
                row[ba] = a;
                activated[ba] = now;
            end
            READ, WRITE: begin
                must(open[ba], "a bank must be open before it is read or written");
                must(now - activated[ba] >= T_RCD, "a row must be open for tRCD");
                must(command == READ || driven == 0,
                     "a write must wait until what was read has left the pins");
                reading = command == READ;
                writing = command == WRITE;
                bank = ba;
                column = a[8:0];
                beat = 0;
                auto_precharge[ba] = a[10];
            end
            STOP: {reading, writing} = 0;
            NOP: ;
        endcase
        must(refreshes < 3 || now - refreshed <= T_REFRESH, "refreshes must not stop");

        // Data: inputs belong to this edge, outputs to the one `latency` edges on.
        pipeline[0] = pipeline[1];
        pipeline[1] = pipeline[2];
        driven = driven >> 1;
        if (writing) begin
            if (dm != 2'b11) sdram_write(word(), 32'(dq), 32'(~dm));
            written[bank] = now;
        end
        if (reading) begin
            pipeline[latency - 1] = 16'(sdram_read(word()));
            driven[latency - 1] = 1;
        end
        q <= pipeline[0];
        q_driven <= driven[0];
        if (reading || writing) begin
            beat = beat + 1;
            if (beat == burst_length) begin
                {reading, writing} = 0;
                // the chip closes the row by itself, as soon as it may
                if (auto_precharge[bank]) begin
                    open[bank] = 0;
                    free[bank] = T_RP + (now > written[bank] ? now + 1 : now + T_WR);
                    if (free[bank] < activated[bank] + T_RAS + T_RP)
                        free[bank] = activated[bank] + T_RAS + T_RP;
                end
            end
        end
    end
endmodule
